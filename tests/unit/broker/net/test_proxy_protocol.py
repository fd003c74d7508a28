import pytest

from broker.net.proxy_protocol import V2_SIGNATURE, decode_header, measure_header
from broker.wire.errors import RemoteProtocolError

V4_BODY = bytes([203, 0, 113, 7, 10, 0, 0, 1, 0x1F, 0x90, 0x07, 0x5B])
V6_BODY = bytes.fromhex("20010db8" + "00" * 11 + "01") + bytes(16) + b"\x00\x01\x00\x02"


def v2(command: int, family: int, body: bytes) -> bytes:
    return V2_SIGNATURE + bytes([command, family]) + len(body).to_bytes(2, "big") + body


@pytest.mark.parametrize(
    ("header", "address"),
    [
        (b"PROXY TCP4 203.0.113.7 10.0.0.1 56324 1883\r\n", "203.0.113.7"),
        (b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", "2001:db8::1"),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN what ever\r\n", None),
        (b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n", None),  # 107 bytes, the longest
        (v2(0x21, 0x11, V4_BODY), "203.0.113.7"),
        (v2(0x21, 0x11, V4_BODY + b"\x04\x00\x02ab"), "203.0.113.7"),
        (v2(0x21, 0x21, V6_BODY), "2001:db8::1"),
        (v2(0x21, 0x31, bytes(216)), None),
        (v2(0x21, 0x00, b""), None),
        (v2(0x20, 0x00, b""), None),
        (v2(0x20, 0x11, V4_BODY), None),
    ],
)
def test_a_header_names_the_client(header: bytes, address: str | None) -> None:
    assert measure_header(header) == 0
    assert decode_header(header) == address


@pytest.mark.parametrize(
    "start",
    [
        b"\x10\x0c\x00\x04MQTT",
        b"\x16\x03\x01",
        b"PROXZ",
        b"PROXY UNKNOWN " + b"x" * 93,
        V2_SIGNATURE[:-1] + b"\r",
        V2_SIGNATURE + b"\x21\x11\x10\x01",  # 4,097 bytes
    ],
)
def test_what_begins_otherwise_is_refused_at_once(start: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        measure_header(start)


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY TCP5 203.0.113.7 10.0.0.1 1 2\r\n",
        b"PROXY TCP4 2001:db8::1 ::1 1 2\r\n",
        b"PROXY TCP6 203.0.113.7 10.0.0.1 1 2\r\n",
        b"PROXY TCP6 ::1 10.0.0.1 1 2\r\n",
        b"PROXY TCP4 203.0.113.7 10.0.0.1 1\r\n",
        b"PROXY TCP4 203.0.113.7 10.0.0.1 1 2 3\r\n",
        b"PROXY TCP4 203.0.113.7  10.0.0.1 1 2\r\n",
        b"PROXY TCP4 203.0.113.7 10.0.0.1 1 65536\r\n",
        b"PROXY TCP4 203.0.113.7 10.0.0.1 01 2\r\n",
        b"PROXY TCP4 203.0.113.7 10.0.0.1 -1 2\r\n",
        b"PROXY TCP4 203.0.113.7 10.0.0.1 1 \xb2\r\n",
        b"PROXY TCP4 203.0.113 10.0.0.1 1 2\r\n",
        b"PROXY TCP4 \xff 10.0.0.1 1 2\r\n",
        b"PROXY TCP4      \r\n",
        v2(0x22, 0x11, V4_BODY),
        v2(0x11, 0x11, V4_BODY),
        v2(0x21, 0x12, V4_BODY),
        v2(0x21, 0x11, V4_BODY[:-1]),
        v2(0x21, 0x21, V6_BODY[:-1]),
        v2(0x21, 0x31, bytes(215)),
    ],
)
def test_malformed_headers_are_refused(header: bytes) -> None:
    assert measure_header(header) == 0
    with pytest.raises(RemoteProtocolError):
        decode_header(header)
