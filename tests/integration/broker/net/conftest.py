"""Sockets by hand, and the broker in its thread."""

import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.broker.access.certificates import Authority
from tests.integration.broker.conftest import BrokerThread, start_broker
from tests.programs import PATIENCE

__all__ = ["Raw", "connect_packet", "publish_packet", "start_broker"]

WAIT_S = 10.0 * PATIENCE
CONNACK = b"\x20\x02\x00\x00"


class Raw:
    """A socket that waits for what is expected."""

    def __init__(self, connected: socket.socket) -> None:
        connected.settimeout(WAIT_S)
        self.socket = connected

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def read(self, size: int) -> bytes:
        received = b""
        while len(received) < size:
            chunk = self.socket.recv(size - len(received))
            assert chunk, f"closed after {received!r}"
            received += chunk
        return received

    def read_to_end(self) -> bytes:
        received = b""
        try:
            while chunk := self.socket.recv(65_536):
                received += chunk
        except ConnectionError:
            pass
        return received

    def expect_connack(self) -> None:
        assert self.read(4) == CONNACK


def connect_packet(client_id: str) -> bytes:
    """Return a CONNECT of 3.1.1, clean, without user."""
    name = client_id.encode()
    body = b"\x00\x04MQTT\x04\x02\x00\x3c" + len(name).to_bytes(2, "big") + name
    return bytes([0x10, len(body)]) + body


def publish_packet(topic: str, payload: bytes) -> bytes:
    """Return a PUBLISH at QoS 0 of less than 16 KiB."""
    body = len(topic).to_bytes(2, "big") + topic.encode() + payload
    return bytes([0x30, 0x80 | len(body) & 127, len(body) >> 7]) + body


@pytest.fixture
def dial() -> Iterator[Callable[..., Raw]]:
    """Connect to a broker's listener, plain or over TLS, perhaps from another address of ours."""
    opened: list[socket.socket] = []

    def dial(
        broker: BrokerThread,
        listener: int = 0,
        *,
        tls: ssl.SSLContext | None = None,
        first: bytes = b"",
        source: str = "127.0.0.1",
    ) -> Raw:
        address = broker.broker.addresses[listener]
        if isinstance(address, Path):
            plain = socket.socket(socket.AF_UNIX)
            plain.connect(str(address))
        else:
            plain = socket.create_connection(address, WAIT_S, (source, 0))
        if first:
            plain.sendall(first)
        opened.append(plain)
        if tls is not None:
            opened.append(tls.wrap_socket(plain, server_hostname="127.0.0.1"))
        return Raw(opened[-1])

    yield dial
    for each in opened:
        each.close()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def server_tls(authority: Authority) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.sign("server"))
    return context


@pytest.fixture
def client_tls(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority.file))
