"""Any cut gives the same MQTT; any bytes give MQTT or a closed connection, never an exception."""

from hypothesis import given
from hypothesis import strategies as st

from broker.net.websocket import WebSocketCodec
from tests.unit.broker.net.frames import BINARY, CLOSE, MORE, PING, frame, handshake

FRAME_BYTES = 10_000
sizes = st.lists(st.integers(1, 400), max_size=60)


def cut(stream: bytes, lengths: list[int]) -> list[bytes]:
    pieces = []
    for length in lengths:
        pieces.append(stream[:length])
        stream = stream[length:]
    return [piece for piece in [*pieces, stream] if piece]


def opened() -> WebSocketCodec:
    websocket = WebSocketCodec((), FRAME_BYTES)
    websocket.receive(handshake())
    assert websocket.take_output().startswith(b"HTTP/1.1 101 ")
    return websocket


@given(sizes)
def test_a_handshake_may_come_in_any_cut(lengths: list[int]) -> None:
    websocket = WebSocketCodec((), FRAME_BYTES)
    answers = []
    for piece in cut(handshake(), lengths):
        assert websocket.receive(piece) == b""
        answers.append(websocket.take_output())
    assert answers[-1].startswith(b"HTTP/1.1 101 ")
    assert not any(answers[:-1])


@given(st.lists(st.lists(st.binary(max_size=300), min_size=1, max_size=3), max_size=8), sizes)
def test_frames_may_come_in_any_cut(messages: list[list[bytes]], lengths: list[int]) -> None:
    stream = b""
    for parts in messages:
        last = len(parts) - 1
        for at, part in enumerate(parts):
            first = 0x80 if at == last else 0
            stream += frame(MORE if at else BINARY, part, first=first) + frame(PING, b"p")
    stream += frame(CLOSE, b"\x03\xe8")
    websocket = opened()
    received = b"".join(websocket.receive(piece) for piece in cut(stream, lengths))
    assert received == b"".join(part for parts in messages for part in parts)
    assert websocket.done
    assert not websocket.refusal
    pongs = sum(map(len, messages))
    pong = frame(0x0A, b"p", masked=False)
    assert websocket.take_output() == pong * pongs + frame(CLOSE, b"\x03\xe8", masked=False)


@given(st.binary(max_size=2_000), sizes)
def test_any_bytes_instead_of_a_handshake(stream: bytes, lengths: list[int]) -> None:
    websocket = WebSocketCodec((), FRAME_BYTES)
    for piece in cut(stream, lengths):
        assert websocket.receive(piece) == b""
        assert websocket.unread_bytes <= len(stream)
    assert not websocket.take_output().startswith(b"HTTP/1.1 101")


@given(st.binary(max_size=2_000), sizes)
def test_any_bytes_instead_of_frames(stream: bytes, lengths: list[int]) -> None:
    websocket = opened()
    received = b"".join(websocket.receive(piece) for piece in cut(stream, lengths))
    assert len(received) <= len(stream)
    assert bool(websocket.refusal) <= websocket.done
    websocket.encode(b"out")
    websocket.close()
    websocket.take_output()
