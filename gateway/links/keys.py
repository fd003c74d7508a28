"""Finds the key that a device names in its hello. Pure.

A device names "<device id>/<key id>", a board with a claim token "claim/<key id>". A key id is the
start of an HMAC of the key: it tells which of two tokens a device uses while it is given a new one,
and finds a claim token, without telling anything of the key.
"""

from dataclasses import dataclass

from gateway.devices.credentials import has_id
from gateway.devices.joining.claims import Claims
from gateway.devices.record import DAY_S, DeviceRecord
from gateway.devices.registry import DeviceRegistry

CLAIM = "claim"


@dataclass(frozen=True, slots=True)
class LinkKey:
    """A key, and the name of the identity in the broker that its holder may log in as."""

    proves: str
    key: bytes

    def __repr__(self) -> str:
        return f"LinkKey({self.proves!r}, ***)"


class LinkKeys:
    """The keys of devices that joined and of claim tokens: the digests that the tables hold."""

    def __init__(self, registry: DeviceRegistry, claims: Claims, expire_days: int = 0) -> None:
        self._registry, self._claims, self._expire_days = registry, claims, expire_days

    def find(self, name: bytes, now: float) -> LinkKey | None:
        """Return the key of a name; None for one that is unknown, revoked or too old."""
        who, _, wanted = name.decode("utf-8", errors="replace").partition("/")
        if who == CLAIM:
            return self._find_claim(wanted, now)
        device = self._registry.get(who)
        if device is None or device.is_revoked:
            return None
        for digest, made_at in _tokens(device):
            if 0 < self._expire_days * DAY_S < now - made_at:
                continue
            if digest and has_id(digest, wanted):
                return LinkKey(device.device_id, bytes.fromhex(digest))
        return None

    def _find_claim(self, wanted: str, now: float) -> LinkKey | None:
        claim = self._claims.find_id(wanted, now)
        return None if claim is None else LinkKey(claim.name, bytes.fromhex(claim.digest))


def _tokens(device: DeviceRecord) -> tuple[tuple[str, float], ...]:
    return (
        (device.token_digest, device.token_made_at),
        (device.next_digest, device.next_made_at),
    )
