"""Sends HTTP requests at a fixed rate and measures the delay of each answer."""

import select
import socket
from contextlib import ExitStack
from time import perf_counter

from benchmarks.errors import PeerError

PROBES = 10  # connections: at 50 requests a second enough for answers of 200 ms
TIMEOUT_S = 30.0
READ_BYTES = 64 * 1024


def encode_get(path: str, key: str) -> bytes:
    """Return a request that keeps the connection."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n\r\n"
    ).encode()


def encode_upload(path: str, key: str, image: bytes) -> bytes:
    """Return a multipart request with one file."""
    boundary = "benchmarks-5f1d7a0c"
    part = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="image.tar"\r\n'
        "Content-Type: application/x-tar\r\n\r\n"
    ).encode()
    body = part + image + f"\r\n--{boundary}--\r\n".encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: multipart/form-data; boundary={boundary}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    return head + body


class ProbeAnswer:
    """One answer, as it comes; it must be a success and say its length."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._total = 0

    def take(self, part: bytes) -> bool:
        """Add what came and return whether the answer is whole."""
        if not part:
            raise PeerError("cannot go on: the gateway closed a connection")
        self._received += part
        if not self._total:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return False
            self._total = end + 4 + _read_length(bytes(self._received[:end]), self._received[end:])
        return len(self._received) >= self._total


def read_answer(connection: socket.socket) -> None:
    """Read the whole next answer from a connection that blocks."""
    answer = ProbeAnswer()
    while not answer.take(connection.recv(READ_BYTES)):
        pass


def probe_http(port: int, request: bytes, rate: int, seconds: float) -> list[float]:
    """Return the seconds from when each request was due to its answer.

    Requests go over connections of their own, so that a slow answer does not hold up the next.
    """
    with ExitStack() as opened:
        free = []
        for _ in range(PROBES):
            connection = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
            opened.enter_context(connection)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            free.append(connection)
        return _probe(free, request, rate, int(rate * seconds))


def _probe(free: list[socket.socket], request: bytes, rate: int, count: int) -> list[float]:
    latencies: list[float] = []
    busy: dict[socket.socket, tuple[float, ProbeAnswer]] = {}
    start, sent = perf_counter(), 0
    while len(latencies) < count:
        now = perf_counter()
        due = start + sent / rate
        if free and sent < count and now >= due:
            connection = free.pop(0)
            connection.sendall(request)
            busy[connection] = (due, ProbeAnswer())
            sent += 1
            continue
        waits = max(0.0, due - now) if free and sent < count else TIMEOUT_S
        ready = select.select(list(busy), [], [], waits)[0]
        if not ready and waits == TIMEOUT_S:
            raise PeerError("cannot measure: no answer in time")
        for connection in ready:
            due_at, answer = busy[connection]
            if answer.take(connection.recv(READ_BYTES)):
                latencies.append(perf_counter() - due_at)
                del busy[connection]
                free.append(connection)
    return latencies


def _read_length(head: bytes, body: bytearray) -> int:
    status, *fields = head.decode("latin-1").split("\r\n")
    if not status.startswith("HTTP/1.1 2"):
        raise PeerError(f"cannot go on: gateway answered {status} {bytes(body[:200])!r}")
    headers = {name.lower(): value for name, _, value in (each.partition(":") for each in fields)}
    return int(headers["content-length"])
