"""Writes the line that says where a broker listens and which clients may connect."""

from collections.abc import Sequence
from pathlib import Path

from broker.access.source import is_loopback
from broker.standalone.conf.settings import Anonymous, BrokerSettings, ListenerSettings
from settings.addresses import format_address

BoundAddress = tuple[str, int] | Path


def write_ready_line(settings: BrokerSettings, bound: Sequence[Sequence[BoundAddress]]) -> str:
    """Return the line for listeners that are bound to these addresses, each to one or more."""
    where = ", ".join(
        f"{_format(address)}{_features(listener)}"
        for addresses, listener in zip(bound, settings.listeners, strict=True)
        for address in addresses
    )
    return f"broker ready: MQTT {where}; {describe_clients(settings)} may connect"


def describe_clients(settings: BrokerSettings) -> str:
    """Return which clients may connect."""
    every = [each.access or settings.access for each in settings.listeners]
    anonymous = {_reach(each, settings) for each in settings.listeners}
    clients = []
    if any(each.password_file or each.tokens or each.certificate_name for each in every):
        clients.append("users")
    if Anonymous.NETWORK in anonymous:
        clients.append("anyone on the network")
    elif Anonymous.LOOPBACK in anonymous:
        clients.append("anyone on this machine")
    return " and ".join(clients)


def _reach(listener: ListenerSettings, settings: BrokerSettings) -> Anonymous:
    """Return from where clients without a password are admitted and can reach the listener."""
    anonymous = (listener.access or settings.access).anonymous
    is_far = listener.path is None and not (listener.host and is_loopback(listener.host))
    if anonymous is Anonymous.NETWORK and not is_far and not listener.proxies:
        return Anonymous.LOOPBACK
    return anonymous


def _features(listener: ListenerSettings) -> str:
    kinds = (("WebSocket", listener.websocket), ("TLS", listener.tls), ("PROXY", listener.proxies))
    named = ", ".join(name for name, is_so in kinds if is_so)
    return f" ({named})" if named else ""


def _format(address: BoundAddress) -> str:
    return str(address) if isinstance(address, Path) else format_address(*address[:2])
