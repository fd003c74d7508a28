"""Lists the addresses of this machine's interfaces."""

from ipaddress import ip_address

import ifaddr


def interface_addresses() -> tuple[str, ...]:
    """Return the addresses of all interfaces, without loopback; a link-local one has its scope."""
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
