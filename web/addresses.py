"""Reads addresses of peers and of this machine."""

import ipaddress
from functools import lru_cache

UNIX = "unix"  # the address of a peer on a Unix socket


@lru_cache(1_000)  # speed: else an address is parsed for each connection
def address_key(peer: str) -> str:
    """Return the key under which a peer's address is counted; "" for this machine.

    An IPv6 address counts with its /64, because the holder of one of them has all.
    """
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])  # the zone is no part of it
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif not address.is_loopback:
            return str(ipaddress.IPv6Network((address, 64), strict=False))
    return "" if address.is_loopback else str(address)


def is_loopback_host(host: str) -> bool:
    """Return whether a host to listen on is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
