import socket
from itertools import cycle

import pytest

from benchmarks.packets import encode_ring
from benchmarks.transport import MASK, BenchWebSocket, encode_frame, frame_ring, read_head


def unmask(frame: bytes) -> bytes:
    head = read_head(frame, 0)
    assert head is not None
    key, body = frame[head[0] : head[0] + 4], frame[head[0] + 4 :]
    assert key == MASK
    assert len(body) == head[1]
    return bytes(byte ^ mask for byte, mask in zip(body, cycle(key), strict=False))


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_a_frame_says_its_size_and_is_masked(size: int) -> None:
    frame = encode_frame(b"x" * size)
    assert frame[0] == 0x82
    assert unmask(frame[:1] + bytes([frame[1]]) + frame[2:]) == b"x" * size


def test_a_head_that_is_not_whole_is_waited_for() -> None:
    frame = encode_frame(b"x" * 70_000)
    assert [read_head(frame[:count], 0) for count in (0, 1, 9)] == [None] * 3


def test_every_packet_of_a_ring_gets_a_frame() -> None:
    ring = encode_ring("a", 8, qos=0, count=3)
    framed = frame_ring(ring)
    assert framed.count == 3
    frames = [
        framed.data[start:end] for start, end in zip(framed.starts, framed.starts[1:], strict=False)
    ]
    assert b"".join(map(unmask, frames)) == ring.data[: ring.period_bytes]


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_frames_are_taken_apart_however_they_are_cut(step: int) -> None:
    near, far = socket.socketpair()
    with near, far:
        far.sendall(
            b"HTTP/1.1 101 Switching\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        )
        client = BenchWebSocket(near, 0)
        far.recv(1000)
        sent = b"".join(bytes([0x82, len(part)]) + part for part in (b"ab", b"", b"cdefg" * 20))
        sent = sent[:4] + b"\x89\x01p" + sent[4:]  # a ping between
        client.setblocking(False)
        buffer, got = bytearray(7), b""
        for start in range(0, len(sent), step):
            far.sendall(sent[start : start + step])
            while True:
                try:
                    got += buffer[: client.recv_into(memoryview(buffer))]
                except BlockingIOError:
                    break
        assert got == b"ab" + b"cdefg" * 20
        far.sendall(b"\x88\x00")
        assert client.recv_into(memoryview(buffer)) == 0
