"""Classifies addresses that a name must not lead a container to. Pure."""

import ipaddress
import re

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

# Addresses that a container reaches only when its manifest declares the address itself: whoever
# owns a name could lead it there (DNS rebinding). IANA special-purpose registries; metadata
# services of clouds outside the link-local range.
SPECIAL: tuple[tuple[IpNetwork, str], ...] = tuple(
    (ipaddress.ip_network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", "this machine"),
        ("127.0.0.0/8", "this machine"),
        ("169.254.0.0/16", "link-local"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("192.0.0.192/32", "cloud metadata"),  # Oracle
        ("100.100.100.200/32", "cloud metadata"),  # Alibaba
        ("168.63.129.16/32", "cloud metadata"),  # Azure
        ("::/128", "this machine"),
        ("::1/128", "this machine"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
        ("fd00:ec2::/32", "cloud metadata"),  # Amazon
        ("fd20:ce::/32", "cloud metadata"),  # Google
    )
)

LOOPBACK = ipaddress.IPv4Address("127.0.0.1")

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_LIKE_NUMBER = re.compile(r"([0-9]+|0[xX][0-9a-fA-F]*)\.?")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")


def plain_address(address: IpAddress) -> IpAddress:
    """Return the IPv4 address that an IPv6 address carries, or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def special_kind(address: IpAddress) -> str:
    """Return the kind of an address that only its own declaration opens; "" for all others."""
    plain = plain_address(address)
    for network, kind in SPECIAL:
        if plain.version == network.version and plain in network:
            return kind
    return ""


def is_special_network(network: IpNetwork) -> bool:
    """Return whether all of a network is special, so that declaring it cannot be an accident."""
    return any(
        network.version == special.version and network.subnet_of(special)  # type: ignore[arg-type]  # of one version
        for special, _ in SPECIAL
    )


def parse_host(host: str) -> IpAddress | str:
    """Return the address that a host is, or its name in lower case, in ASCII, without a last dot.

    localhost is an address.

    Raises:
        ValueError: it is neither. Names that end in a number are refused: resolvers read 0177.1,
            0x7f000001 and 2130706433 as 127.0.0.1.
    """
    text = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if "%" in text:
        raise ValueError("must have no zone and no percent-encoding")
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        pass
    if ":" in text:
        raise ValueError("is no IPv6 address")
    if not text.isascii():
        text = text.encode("idna").decode()  # UnicodeError is a ValueError
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    if labels[-1] == "localhost":  # RFC 6761, 6.3: no name server is asked
        return LOOPBACK
    if _LIKE_NUMBER.fullmatch(labels[-1]):
        raise ValueError("is a number, but no IPv4 address in its usual form")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("is no host name")
    return name
