"""Classifies and formats addresses of this machine and of peers."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address

from settings.addresses import HostPort, format_address


def is_loopback(peer: str) -> bool:
    """Return whether a peer's address is on this machine."""
    address = _parse(peer)
    return address is not None and address.is_loopback


def is_of_no_machine(host: str) -> bool:
    """Return whether a host is an address of no machine: multicast, broadcast, unspecified."""
    address = _parse(host)
    if address is None:
        return False
    return address.is_multicast or address.is_unspecified or address == _BROADCAST


def _parse(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a host is; None for a name. An IPv4 one in IPv6 is an IPv4 one."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


_BROADCAST = IPv4Address("255.255.255.255")
ADDRESSES_LIMIT = 8  # of one node that others are told


def cluster_addresses(host: str, port: int) -> tuple[str, ...]:
    """Return host:port for peers of a listener on a host; of all addresses, this machine's own.

    The first is that of the default route. Link-local ones are named only by a machine that has no
    other, and without their scope, which means nothing to another machine.
    """
    if host not in ("0.0.0.0", "::", ""):  # noqa: S104  # compared, not bound
        return (format_address(host, port),)
    own = interface_addresses()
    wide = [each for each in own if "%" not in each]
    if wide and (first := local_address()) in wide:
        wide = [first, *wide]
    told = wide or [each.partition("%")[0] for each in own]
    return tuple(format_address(each, port) for each in dict.fromkeys(told))[:ADDRESSES_LIMIT]


def interface_addresses() -> tuple[str, ...]:
    """Return the addresses of all interfaces, without loopback; a link-local one has its scope."""
    import ifaddr  # a node that stays alone does not load it

    found = []
    for adapter in ifaddr.get_adapters():
        for each in adapter.ips:
            text = each.ip if isinstance(each.ip, str) else each.ip[0]
            address = ip_address(text.partition("%")[0])
            if address.is_loopback or address.is_multicast or address.is_unspecified:
                continue
            found.append(
                f"{address}%{adapter.name}"
                if address.is_link_local and address.version == 6
                else str(address)
            )
    return tuple(dict.fromkeys(found))


def local_address() -> str:
    """Return this machine's address on its network; 127.0.0.1 without one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # RFC 5737: a reserved address; nothing is sent
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def place_of_peer(href: str) -> str:
    """Return host:port of a cluster address in a record; "" when it is none for this machine."""
    place = href.removeprefix("https://")
    try:
        host = HostPort.parse(place).host
    except ValueError:
        return ""
    if is_of_no_machine(host) or (is_link_local_v6(host) and "%" not in host):
        return ""  # of nobody, or on one of several networks
    return place if place != href else ""


def is_link_local_v6(host: str) -> bool:
    """Return whether a host is an IPv6 address of one network only (RFC 4291, 2.5.6)."""
    address = _parse(host)
    return isinstance(address, IPv6Address) and address.is_link_local
