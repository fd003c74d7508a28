"""Connects to a broker by TCP, TLS or WebSocket, always with the calls of a socket.

A client of its own for WebSocket, not the broker's frames: a mistake that both ends share would
cancel out.
"""

import os
import socket
import ssl
from dataclasses import dataclass
from itertools import cycle
from typing import Protocol

from benchmarks.errors import PeerError
from benchmarks.packets import READ_BYTES, Ring

TIMEOUT_S = 10.0  # of connect and handshakes
BUSY = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)  # nothing to do now
UPGRADE = (
    "GET /mqtt HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: mqtt\r\n\r\n"
)
ACCEPTED = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # for that key: RFC 6455, section 1.3
HEAD_LIMIT = 8192
BINARY, CLOSE = 0x2, 0x8  # opcodes; those above are pings and pongs
IP_BIND_ADDRESS_NO_PORT = 24  # ip(7): the port is chosen on connect, else closed ones are missed
MASK = bytes.fromhex("a1b2c3d4")  # one for all: it must not cost the generator anything


class BenchConnection(Protocol):
    """The part of a socket that loads use."""

    def fileno(self) -> int: ...
    def send(self, data: bytes | bytearray | memoryview, /) -> int: ...
    def sendall(self, data: bytes | bytearray | memoryview, /) -> None: ...
    def recv(self, count: int, /) -> bytes: ...
    def recv_into(self, buffer: memoryview, /) -> int: ...
    def settimeout(self, seconds: float | None, /) -> None: ...
    def setblocking(self, blocking: bool, /) -> None: ...  # as a socket has it
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class BrokerEndpoint:
    """The address of a broker and the transport to use."""

    port: int
    tls: ssl.SSLContext | None = None
    websocket: bool = False

    def dial(self, source: str = "") -> socket.socket:
        """Return a TCP connection, from this address of the machine if one is named."""
        connection = socket.socket()
        try:
            connection.settimeout(TIMEOUT_S)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if source:
                connection.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
                connection.bind((source, 0))
            connection.connect(("127.0.0.1", self.port))
        except BaseException:
            connection.close()
            raise
        return connection

    def open(self) -> BenchConnection:
        """Return a blocking connection over which MQTT can be spoken."""
        plain = self.dial()
        try:
            if self.tls is not None:
                return Tls(self.tls.wrap_socket(plain, server_hostname="localhost"))
            if self.websocket:
                return BenchWebSocket(plain, self.port)
        except BaseException:
            plain.close()
            raise
        return plain


class Tls:
    """A TLS connection that reads as many records as there are, not one."""

    def __init__(self, wire: ssl.SSLSocket) -> None:
        self._wire = wire
        self.fileno = wire.fileno
        self.send, self.sendall, self.recv = wire.send, wire.sendall, wire.recv
        self.settimeout, self.setblocking = wire.settimeout, wire.setblocking
        self.pending, self.close = wire.pending, wire.close

    def recv_into(self, buffer: memoryview, /) -> int:
        """Fill the buffer with what is there; 0 at the end."""
        taken = self._wire.recv_into(buffer)
        try:
            while 0 < taken < len(buffer) and (more := self._wire.recv_into(buffer[taken:])):
                taken += more
        except BUSY:
            pass
        return taken


class BenchWebSocket:
    """The client's end of MQTT over WebSocket."""

    def __init__(self, wire: socket.socket, port: int) -> None:
        self.wire = wire  # for what is in frames already
        self._left = 0  # bytes of the current frame that have not come or not been taken
        self._raw = _upgrade(wire, port)
        self._full = bool(self._raw)  # more was received than taken

    def fileno(self) -> int:
        """Return the socket's number."""
        return self.wire.fileno()

    def pending(self) -> int:
        """Return how much can be taken without asking the socket."""
        return len(self._raw) if self._full else 0

    def send(self, data: bytes | bytearray | memoryview, /) -> int:
        """Send as one frame, whole."""
        self.sendall(data)
        return len(data)

    def sendall(self, data: bytes | bytearray | memoryview, /) -> None:
        """Send as one frame."""
        self.wire.sendall(encode_frame(bytes(data)))

    def recv(self, count: int, /) -> bytes:
        """Return some of what was sent, b"" at the end."""
        buffer = bytearray(count)
        while True:
            try:
                return bytes(buffer[: self.recv_into(memoryview(buffer))])
            except BlockingIOError:
                if self.wire.gettimeout() == 0:
                    raise

    def recv_into(self, buffer: memoryview, /) -> int:
        """Take what the frames carry; BlockingIOError when only a part of a head came."""
        if not self._full:
            received = self.wire.recv(READ_BYTES)
            if not received:
                return 0
            self._raw += received
        taken = self._take(buffer)
        if taken is None:
            return 0
        self._full = taken == len(buffer) and bool(self._raw)
        if not taken:
            raise BlockingIOError
        return taken

    def settimeout(self, seconds: float | None, /) -> None:
        """Change how long calls wait."""
        self.wire.settimeout(seconds)

    def setblocking(self, blocking: bool, /) -> None:  # as a socket has it
        """Change whether calls wait."""
        self.wire.setblocking(blocking)

    def close(self) -> None:
        """Close the connection."""
        self.wire.close()

    def _take(self, buffer: memoryview) -> int | None:
        raw, at, taken, size = self._raw, 0, 0, len(buffer)
        while taken < size:
            if not self._left:
                head = read_head(raw, at)
                if head is None:
                    break
                used, size_of_frame, opcode = head
                if opcode == CLOSE:
                    return None
                if opcode > CLOSE:  # a ping: nobody waits for the answer here
                    if len(raw) < at + used + size_of_frame:
                        break
                    at += used + size_of_frame
                    continue
                at, self._left = at + used, size_of_frame
                if not self._left:
                    continue
            count = min(self._left, len(raw) - at, size - taken)
            if not count:
                break
            buffer[taken : taken + count] = raw[at : at + count]
            at, taken, self._left = at + count, taken + count, self._left - count
        del raw[:at]
        return taken


def read_head(raw: bytes | bytearray, at: int) -> tuple[int, int, int] | None:
    """Return size of the head, size of what follows, and opcode; None while it is not whole."""
    if len(raw) < at + 2:
        return None
    size, extra = raw[at + 1] & 0x7F, 0
    if size > 125:
        extra = 2 if size == 126 else 8
        if len(raw) < at + 2 + extra:
            return None
        size = int.from_bytes(raw[at + 2 : at + 2 + extra], "big")
    return 2 + extra, size, raw[at] & 0x0F


def encode_frame(data: bytes) -> bytes:
    """Return one binary frame of a client."""
    size = len(data)
    if size < 126:
        head = bytes([0x80 | BINARY, 0x80 | size])
    elif size < 2**16:
        head = bytes([0x80 | BINARY, 0x80 | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([0x80 | BINARY, 0x80 | 127]) + size.to_bytes(8, "big")
    masked = bytes(byte ^ key for byte, key in zip(data, cycle(MASK)))  # endless
    return head + MASK + masked


def frame_ring(ring: Ring) -> Ring:
    """Return a ring with every packet in a frame of its own, as clients send them."""
    packets = [
        encode_frame(ring.data[start:end])
        for start, end in zip(ring.starts, ring.starts[1:], strict=False)
    ]
    starts = [0]
    for packet in packets:
        starts.append(starts[-1] + len(packet))
    return Ring(b"".join(packets), tuple(starts), 0, 0)


def pending_of(connection: BenchConnection) -> int:
    """Return how many bytes wait in the connection itself, which epoll does not see."""
    if isinstance(connection, Tls | BenchWebSocket):
        return connection.pending()
    return 0


def _upgrade(wire: socket.socket, port: int) -> bytearray:
    """Ask for WebSocket and return what came behind the answer."""
    wire.sendall(UPGRADE.format(port=port).encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        part = wire.recv(READ_BYTES)
        answer += part
        if not part or len(answer) > HEAD_LIMIT:
            raise PeerError("cannot open WebSocket: no answer to the upgrade")
    head, _, rest = answer.partition(b"\r\n\r\n")
    if b" 101 " not in head or ACCEPTED not in head:
        raise PeerError(f"cannot open WebSocket: broker answered {os.fsdecode(head)[:60]!r}")
    return bytearray(rest)
