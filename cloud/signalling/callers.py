"""Names callers, as far as they can be told apart: by the address they call from."""

import ipaddress
from functools import lru_cache

NETWORK_BITS = 64  # of IPv6: who has one address of it has all


@lru_cache(1_000)  # speed: an address is parsed once, not for each request
def caller_of(host: str) -> str:
    """Return what an address counts as."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])  # the zone is no part of it
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((address, NETWORK_BITS), strict=False))
    return str(address)
