import pytest

from broker.net.websocket import HANDSHAKE_BYTES, WebSocketCodec, is_origin_allowed
from tests.unit.broker.net.frames import (
    ACCEPT,
    BINARY,
    CLOSE,
    MORE,
    PING,
    PONG,
    TEXT,
    frame,
    handshake,
)

FRAME_BYTES = 70_000


def opened(origins: tuple[str, ...] = ()) -> WebSocketCodec:
    websocket = WebSocketCodec(origins, FRAME_BYTES)
    assert websocket.receive(handshake()) == b""
    assert websocket.take_output().startswith(b"HTTP/1.1 101 ")
    return websocket


def close_code(output: bytes) -> int:
    assert output[0] == 0x80 | CLOSE
    return int.from_bytes(output[2:4], "big")


# [MQTT-6.0.0-4]
@pytest.mark.parametrize(
    ("offered", "chosen"),
    [("mqtt", b"mqtt"), ("mqttv3.1", b"mqttv3.1"), ("chat, mqttv3.1,mqtt", b"mqtt")],
)
def test_a_handshake_is_answered(offered: str, chosen: bytes) -> None:
    websocket = WebSocketCodec((), FRAME_BYTES)
    extensions = {"Sec_WebSocket_Extensions": "permessage-deflate"}
    websocket.receive(handshake("/mqtt?a=b", Sec_WebSocket_Protocol=offered, **extensions))
    head, _, rest = websocket.take_output().partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 101 Switching Protocols"
    assert b"Sec-WebSocket-Accept: " + ACCEPT in lines
    assert b"Sec-WebSocket-Protocol: " + chosen in lines
    assert b"Extensions" not in head
    assert rest == b""
    assert not websocket.done
    assert not websocket.refusal


# [MQTT-6.0.0-3]
@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (handshake("/"), b"404"),
        (handshake("/mqtt/"), b"404"),
        (handshake(Host=None), b"400"),
        (handshake(Sec_WebSocket_Protocol=None), b"400"),
        (handshake(Sec_WebSocket_Protocol="chat"), b"400"),
        (handshake(Sec_WebSocket_Key="short"), b"400"),
        (handshake(Sec_WebSocket_Key=None), b"400"),
        (handshake(Sec_WebSocket_Version="8"), b"400"),
        (handshake(Upgrade=None), b"426"),
        (handshake(Connection="close"), b"426"),
        (handshake(Origin="https://elsewhere.example"), b"403"),
        (handshake(Origin="null"), b"403"),
    ],
)
def test_a_wrong_handshake_is_answered_and_closed(request_bytes: bytes, status: bytes) -> None:
    websocket = WebSocketCodec((), FRAME_BYTES)
    assert websocket.receive(request_bytes + frame(BINARY, b"\x10")) == b""
    assert websocket.take_output().startswith(b"HTTP/1.1 " + status)
    assert websocket.done
    assert websocket.refusal == "websocket_handshake"


def test_frames_before_the_answer_are_not_heard() -> None:
    websocket = WebSocketCodec((), FRAME_BYTES)
    assert websocket.receive(handshake() + frame(BINARY, b"\x10")) == b""
    assert websocket.done
    assert websocket.refusal == "websocket_handshake"


@pytest.mark.parametrize(
    "start",
    [
        b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00\r\n",
        handshake().replace(b"GET", b"POST"),
        handshake().replace(b"HTTP/1.1", b"HTTP/1.0"),
        b"GET /mqtt HTTP/1.1\r\n" + b"a: b\r\n" * 200,
        b"GET /" + b"x" * HANDSHAKE_BYTES,
        b"GET /mqtt HTTP/1.1\r\n" + (b"a: " + b"x" * 8_000 + b"\r\n") * 3,
    ],
)
def test_what_is_no_handshake_is_closed(start: bytes) -> None:
    websocket = WebSocketCodec((), FRAME_BYTES)
    for at in range(0, len(start), 1000):
        websocket.receive(start[at : at + 1000])
    assert websocket.done
    assert websocket.refusal == "websocket_handshake"


@pytest.mark.parametrize(
    ("origin", "origins", "allowed"),
    [
        ("http://broker.example", (), True),
        ("https://BROKER.example:9001", (), True),
        ("https://broker.example.evil.example", (), False),
        ("https://evil.example", (), False),
        ("https://evil.example", ("https://good.example",), False),
        ("https://good.example", ("https://good.example",), True),
        ("https://good.example:1", ("https://good.example",), False),
        ("https://evil.example", ("*",), True),
        ("null", (), False),
        ("", (), False),
        ("http://[", (), False),
    ],
)
def test_pages_of_other_hosts_are_listed_or_refused(
    origin: str, origins: tuple[str, ...], *, allowed: bool
) -> None:
    assert is_origin_allowed(origin, "broker.example:8083", origins) is allowed
    websocket = WebSocketCodec(origins, FRAME_BYTES)
    websocket.receive(handshake(Origin=origin))
    assert websocket.take_output().startswith(b"HTTP/1.1 101" if allowed else b"HTTP/1.1 403")


def test_a_host_that_is_no_host_allows_no_page() -> None:
    assert not is_origin_allowed("", "", ())
    assert not is_origin_allowed("http://[::1]", "[", ())
    assert is_origin_allowed("http://[::1]:80", "[::1]:8083", ())


# [MQTT-6.0.0-2]
def test_one_stream_over_frames_of_any_kind() -> None:
    websocket = opened()
    assert websocket.receive(frame(BINARY, b"ab") + frame(BINARY) + frame(BINARY, b"c")) == b"abc"
    assert websocket.receive(frame(BINARY, b"d", first=0)) == b"d"
    assert websocket.receive(frame(PING, b"still there?")) == b""
    assert websocket.take_output() == frame(PONG, b"still there?", masked=False)
    assert websocket.receive(frame(MORE, b"e", first=0) + frame(MORE, b"f")) == b"ef"
    assert websocket.receive(frame(PONG, b"who asked?")) == b""
    large = bytes(range(256)) * 260
    assert websocket.receive(frame(BINARY, large)) == large
    assert websocket.take_output() == b""
    assert websocket.unread_bytes == 0


# [MQTT-6.0.0-1]
def test_output_leaves_as_binary_frames_without_masks() -> None:
    websocket = opened()
    for size in (0, 125, 126, 65_535, 65_536):
        assert websocket.encode(b"x" * size) == frame(BINARY, b"x" * size, masked=False)


# [MQTT-6.0.0-1]
@pytest.mark.parametrize(
    ("wrong", "code", "refusal"),
    [
        (frame(TEXT, b"hi"), 1003, "websocket_text"),
        (frame(TEXT, b"hi", first=0), 1003, "websocket_text"),
        (frame(BINARY, b"x", masked=False), 1002, "websocket_protocol"),
        (frame(BINARY, b"x", first=0xC0), 1002, "websocket_protocol"),
        (frame(MORE, b"x"), 1002, "websocket_protocol"),
        (frame(BINARY, b"x", first=0) * 2, 1002, "websocket_protocol"),
        (frame(3, b"x"), 1002, "websocket_protocol"),
        (frame(PING, b"x", first=0), 1002, "websocket_protocol"),
        (frame(PING, b"x" * 126), 1002, "websocket_protocol"),
        (frame(CLOSE, b"\x03"), 1002, "websocket_protocol"),
        (frame(CLOSE, b"\x03\xed"), 1002, "websocket_protocol"),  # 1005 is never sent
        (frame(BINARY, b"x" * (FRAME_BYTES + 1))[:14], 1009, "websocket_protocol"),
        (
            frame(BINARY, b"x" * FRAME_BYTES, first=0) + frame(MORE, b"x"),
            1009,
            "websocket_protocol",
        ),
    ],
)
def test_a_wrong_frame_closes_with_its_code(wrong: bytes, code: int, refusal: str) -> None:
    websocket = opened()
    websocket.receive(wrong)
    assert close_code(websocket.take_output()) == code
    assert websocket.done
    assert websocket.refusal == refusal
    assert websocket.receive(frame(BINARY, b"more")) == b""
    assert websocket.encode(b"more") == b""


def test_what_came_before_a_wrong_frame_counts_and_after_it_does_not() -> None:
    websocket = opened()
    wrong = frame(TEXT, b"x")
    assert websocket.receive(frame(BINARY, b"a") + wrong + frame(BINARY, b"b")) == b"a"


def test_the_client_closes() -> None:
    websocket = opened()
    assert websocket.receive(frame(BINARY, b"bye") + frame(CLOSE, b"\x03\xe8")) == b"bye"
    assert websocket.take_output() == frame(CLOSE, b"\x03\xe8", masked=False)
    assert websocket.done
    assert not websocket.refusal


def test_the_broker_closes_and_waits_for_the_answer() -> None:
    websocket = opened()
    websocket.close()
    websocket.close()
    assert close_code(websocket.take_output()) == 1000
    assert not websocket.done
    assert websocket.encode(b"late") == b""
    websocket.receive(frame(CLOSE, b"\x03\xe8"))
    assert websocket.done
    assert websocket.take_output() == b""
    assert not websocket.refusal


def test_closing_before_the_handshake_is_closing() -> None:
    websocket = WebSocketCodec((), FRAME_BYTES)
    websocket.close()
    assert websocket.done


# case G6
@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("evil.example:8083", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1:8083", True),
        ("[::1]:8083", True),
        ("192.0.2.1", True),
        ("localhost:8083", True),
        ("barn.local", True),
    ],
)
def test_a_page_that_bound_its_own_name_to_this_machine_may_not_connect(
    host: str, *, allowed: bool
) -> None:
    hosts = frozenset({"barn.local"})
    assert is_origin_allowed(f"http://{host}", host, (), hosts) is allowed
    listed = is_origin_allowed(f"http://{host}", host, (f"http://{host}",), hosts)
    assert listed
    websocket = WebSocketCodec((), FRAME_BYTES, hosts)
    websocket.receive(handshake(Host=host, Origin=f"http://{host}"))
    assert websocket.take_output().startswith(b"HTTP/1.1 101 " if allowed else b"HTTP/1.1 403 ")
