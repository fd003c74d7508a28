"""The probe counts whole answers, and takes nothing else for one."""

import socket
from collections.abc import Iterator
from threading import Thread

import pytest

from benchmarks.errors import PeerError
from benchmarks.http_probe import ProbeAnswer, encode_get, encode_upload, probe_http

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@pytest.mark.parametrize("step", [1, 7, 100])
def test_an_answer_is_whole_with_its_last_byte(step: int) -> None:
    answer = ProbeAnswer()
    parts = [OK[start : start + step] for start in range(0, len(OK), step)]
    assert [answer.take(part) for part in parts] == [False] * (len(parts) - 1) + [True]


@pytest.mark.parametrize("received", [b"", b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"])
def test_a_refusal_is_no_answer(received: bytes) -> None:
    with pytest.raises(PeerError, match="cannot go on"):
        ProbeAnswer().take(received)


def test_an_upload_says_its_length() -> None:
    head, _, body = encode_upload("/images", "key", b"tar").partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"\r\n\r\ntar\r\n--" in body


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        server.settimeout(10)
        serving = Thread(target=serve, args=(server, 10))
        serving.start()
        yield server.getsockname()[1]
        serving.join()


def serve(server: socket.socket, connections: int) -> None:
    clients = [server.accept()[0] for _ in range(connections)]
    for turn in range(3):
        for client in clients:
            if turn < 2:
                client.recv(1000)
                client.sendall(OK)
            else:
                client.close()


def test_requests_take_turns_over_the_connections(port: int) -> None:
    latencies = probe_http(port, encode_get("/", "key"), rate=2_000, seconds=0.01)
    assert len(latencies) == 20
    assert all(latency > 0 for latency in latencies)
