"""Takes what the gateway tells a device beside commands: the time, new credentials. Loaded then."""

from device.errors import WireError
from device.flash import load


def take_notice(topic, payload, identity, clock, has_tls):
    """Take a message; return whether it brought new credentials, now in identity."""
    if topic.endswith("/credentials"):
        new = load("join").renew(payload, identity[0][0])
        if new:
            identity[0] = new
        return bool(new)
    if topic == identity[0][3] + "/time":
        try:
            clock.set(load("contract_commands").decode_time(payload))
            if has_tls and clock.now() is not None:
                load("tls").keep_time(clock.now())
        except (WireError, OSError) as exc:
            print("device:", exc)
    return False
