"""HTTP requests at a fixed rate over one connection: how late each answer comes."""

import socket
from time import perf_counter, sleep

from benchmarks.errors import PeerError

HEAD_LIMIT = 64 * 1024


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


def read_answer(connection: socket.socket) -> bytes:
    """Return the body of the next answer, which must be a success and say its length."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(65536)
        if not part or len(received) > HEAD_LIMIT:
            raise PeerError("cannot go on: no answer")
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    status, *fields = head.decode("latin-1").split("\r\n")
    if not status.startswith("HTTP/1.1 2"):
        raise PeerError(f"cannot go on: gateway answered {status} {body[:200]!r}")
    headers = {name.lower(): value.strip() for name, _, value in (f.partition(":") for f in fields)}
    length = int(headers["content-length"])
    while len(body) < length:
        part = connection.recv(65536)
        if not part:
            raise PeerError("cannot go on: answer cut short")
        body += part
    return body


def probe_http(port: int, request: bytes, rate: int, seconds: float) -> list[float]:
    """Return the seconds from when each request was due to its answer."""
    latencies = []
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        start = perf_counter()
        for number in range(int(rate * seconds)):
            due = start + number / rate
            if (wait := due - perf_counter()) > 0:
                sleep(wait)
            connection.sendall(request)
            read_answer(connection)
            latencies.append(perf_counter() - due)
    return latencies
