"""Classifies and formats addresses of this machine and of peers."""

import socket
from ipaddress import ip_address

from settings.addresses import format_address


def is_loopback(peer: str) -> bool:
    """Return whether a peer's address is on this machine."""
    try:
        address = ip_address(peer.split("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def cluster_addresses(host: str, port: int) -> tuple[str, ...]:
    """Return host:port for peers of a listener on a host; of all addresses, this machine's own."""
    every = host in ("0.0.0.0", "::", "")  # noqa: S104  # compared, not bound
    return (format_address(local_address() if every else host, port),)


def local_address() -> str:
    """Return this machine's address on its network; 127.0.0.1 without one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # RFC 5737: a reserved address; nothing is sent
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
