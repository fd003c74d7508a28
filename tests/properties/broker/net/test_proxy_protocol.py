"""A header is read to its last byte and not further; any bytes give a value or a refusal."""

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from broker.net.proxy_protocol import V2_SIGNATURE, decode_header, measure_header
from broker.wire.errors import RemoteProtocolError

FOLLOWS = b"\x16\x03\x01\r\n after"

ports = st.integers(0, 65_535)
addresses = st.ip_addresses(v=4) | st.ip_addresses(v=6)


def read(stream: bytes) -> bytes:
    header = b""
    while missing := measure_header(header):
        assert missing > 0
        if len(header) + missing > len(stream):
            raise RemoteProtocolError("the stream ends")
        header += stream[len(header) : len(header) + missing]
    return header


@given(addresses, ports, ports)
def test_version_1(
    source: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, own_port: int
) -> None:
    line = f"PROXY TCP{source.version} {source} {source} {port} {own_port}\r\n".encode()
    assert read(line + FOLLOWS) == line
    assert decode_header(line) == str(source)


@given(st.binary(max_size=91).filter(lambda rest: b"\r\n" not in rest and rest[-1:] != b"\r"))
def test_version_1_of_unknown(rest: bytes) -> None:
    line = b"PROXY UNKNOWN" + (b" " + rest if rest else b"") + b"\r\n"
    assert read(line + FOLLOWS) == line
    assert decode_header(line) is None


@given(addresses, ports, st.binary(max_size=300))
def test_version_2(
    source: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, more: bytes
) -> None:
    family = 0x11 if source.version == 4 else 0x21
    body = source.packed * 2 + port.to_bytes(2, "big") * 2 + more
    header = V2_SIGNATURE + bytes([0x21, family]) + len(body).to_bytes(2, "big") + body
    assert read(header + FOLLOWS) == header
    assert decode_header(header) == str(source)


@given(
    st.binary(max_size=200)
    | st.builds(V2_SIGNATURE.__add__, st.binary(max_size=60))
    | st.builds(b"PROXY TCP4 ".__add__, st.binary(max_size=60).map(lambda b: b + b"\r\n"))
)
def test_any_bytes(stream: bytes) -> None:
    try:
        header = read(stream)
        address = decode_header(header)
    except RemoteProtocolError:
        return
    assert stream.startswith(header)
    assert address is None or ipaddress.ip_address(address)
