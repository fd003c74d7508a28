"""Parses the header of the PROXY protocol, versions 1 and 2: the address of a proxy's client."""

import ipaddress

from broker.wire.errors import RemoteProtocolError

START_BYTES = 15  # "PROXY UNKNOWN" and its line end: no header of either version is shorter
V1_START = b"PROXY "
V1_BYTES = 107  # the longest line, its end included
V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V2_HEAD_BYTES = 16
V2_BODY_BYTES = 4_096  # addresses take 216 at most; the rest is for extensions
LINE_END = b"\r\n"
V1_FAMILIES = {b"TCP4": 4, b"TCP6": 6}
V2_LOCAL, V2_PROXY = 0x20, 0x21
V2_ADDRESS_BYTES = {0x11: (4, 12), 0x21: (16, 36)}  # TCP: of the address, of all addresses
V2_WITHOUT_ADDRESS = {0x00: 0, 0x31: 216}  # unknown, Unix socket


def measure_header(start: bytes) -> int:
    """Return the number of bytes that are surely missing, 0 when the header is whole.

    Reading no more than that leaves what follows, perhaps TLS, where it is.

    Raises:
        RemoteProtocolError: if this is no header.
    """
    have = len(start)
    if not have:
        return START_BYTES
    if start.startswith(V2_SIGNATURE[:have]):
        if have < V2_HEAD_BYTES:
            return V2_HEAD_BYTES - have
        length = int.from_bytes(start[14:16], "big")
        if length > V2_BODY_BYTES:
            raise RemoteProtocolError(f"PROXY header of {length} bytes")
        return V2_HEAD_BYTES + length - have
    if not start.startswith(V1_START[:have]):
        raise RemoteProtocolError("no PROXY header")
    if have < START_BYTES:
        return START_BYTES - have
    if start.endswith(LINE_END):
        return 0
    if have >= V1_BYTES:
        raise RemoteProtocolError("PROXY line without an end")
    return 1 if have == V1_BYTES - 1 or start.endswith(b"\r") else 2


def decode_header(header: bytes) -> str | None:
    """Return the client's address from a whole header; None for a connection of the proxy itself.

    Raises:
        RemoteProtocolError: if the header is malformed.
    """
    if header.startswith(V2_SIGNATURE):
        return _decode_v2(header)
    return _decode_v1(header)


def _decode_v1(line: bytes) -> str | None:
    words = line.removesuffix(LINE_END).split(b" ")
    if words[1] == b"UNKNOWN":  # the rest of the line is to be ignored
        return None
    version = V1_FAMILIES.get(words[1])
    if version is None or len(words) != 6 or not all(map(_is_port, words[4:])):
        raise RemoteProtocolError("malformed PROXY line")
    try:
        source, target = (ipaddress.ip_address(word.decode("ascii")) for word in words[2:4])
    except ValueError as exc:
        raise RemoteProtocolError("malformed address in PROXY line") from exc
    if {source.version, target.version} != {version}:
        raise RemoteProtocolError("address of another family in PROXY line")
    return str(source)


def _decode_v2(header: bytes) -> str | None:
    command, family, body = header[12], header[13], header[V2_HEAD_BYTES:]
    if command == V2_LOCAL:  # a proxy's own check of our health
        return None
    if command != V2_PROXY:
        raise RemoteProtocolError(f"unknown PROXY command {command:#04x}")
    if family in V2_WITHOUT_ADDRESS:
        if len(body) < V2_WITHOUT_ADDRESS[family]:
            raise RemoteProtocolError("short PROXY header")
        return None
    if family not in V2_ADDRESS_BYTES:
        raise RemoteProtocolError(f"unknown PROXY family {family:#04x}")
    address_bytes, all_bytes = V2_ADDRESS_BYTES[family]
    if len(body) < all_bytes:
        raise RemoteProtocolError("short PROXY header")
    return str(ipaddress.ip_address(body[:address_bytes]))


def _is_port(word: bytes) -> bool:
    return (
        word.isdigit() and len(word) <= 5 and str(int(word)).encode() == word and int(word) < 65_536
    )
