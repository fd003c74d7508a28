"""The broker alone, in the foreground."""

import asyncio
import contextlib
import ipaddress
import os
import signal
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

from broker import Broker, BrokerError, Credentials, Identity, Listener, Refusal
from gateway.cli.errors import CliError, OptionError
from gateway.logs import configure_logs


class Access(Enum):
    """Who may connect without a password."""

    NOBODY = "nobody"
    LOOPBACK = "loopback"
    NETWORK = "network"


class Anonymous:
    """Lets in whoever comes from where it is allowed; all of them may do everything."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def authenticate(self, credentials: Credentials) -> Identity | Refusal:
        """Admit by the peer's address; the broker keeps no users of its own."""
        if self._access is Access.NETWORK or _is_loopback(credentials.peer):
            return Identity(credentials.username or "anonymous", credentials.client_id)
        return Refusal.NOT_AUTHORIZED

    def may_publish(self, identity: Identity, topic: str) -> bool:  # noqa: ARG002
        """Allow everything that applications may name; control topics are the gateway's."""
        return not topic.startswith("$")

    def may_subscribe(self, identity: Identity, topic_filter: str) -> bool:  # noqa: ARG002
        """Allow every filter."""
        return True


def run_broker(listen: Sequence[str], access: Access) -> None:
    """Serve until SIGTERM or Ctrl-C; print one line when ready."""
    listeners = [parse_listener(text) for text in listen]
    check_access(listeners, access)
    configure_logs(os.environ.get("HECATE_LOG_LEVEL", "WARNING"))
    asyncio.run(_serve(listeners, access))


def parse_listener(text: str) -> Listener:
    """Return the listener in HOST:PORT; brackets go round an IPv6 address."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise OptionError(f"cannot listen on {text}: must be HOST:PORT, such as 127.0.0.1:1883")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise OptionError(
            f"cannot listen on {text}: put brackets round the address: [{host}]:{port}"
        )
    return Listener(host=host.strip("[]"), port=int(port))


def check_access(listeners: Sequence[Listener], access: Access) -> None:
    """Refuse what would serve nobody, and what would serve everybody without being asked."""
    if access is Access.NOBODY:
        raise OptionError(
            "cannot start broker: it has no users, so nobody could connect; add --anonymous to let "
            "anyone on this machine in, or run `hecate gateway` for devices with passwords"
        )
    for listener in listeners:
        if access is not Access.NETWORK and not _is_loopback(listener.host):
            raise OptionError(
                f"cannot listen on {listener.host}:{listener.port}: anyone on the network could "
                "read and write everything; add --open-to-network if that is what you want"
            )


async def _serve(listeners: Sequence[Listener], access: Access) -> None:
    policy = Anonymous(access)
    broker = Broker(listeners, policy, policy)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    try:
        await broker.start()
    except BrokerError as exc:
        raise CliError(str(exc)) from exc
    try:
        where = ", ".join(_show(address) for address in broker.addresses)
        who = "anyone on this machine" if access is Access.LOOPBACK else "anyone on the network"
        print(f"broker ready: MQTT {where}; {who} may connect", flush=True)  # noqa: T201
        await stopped.wait()
    finally:
        await broker.stop()


def _show(address: tuple[str, int] | Path) -> str:
    if isinstance(address, Path):
        return str(address)
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False
