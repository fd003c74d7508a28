"""Publishes numbered messages over raw sockets, and checks those that handlers publish."""

import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from benchmarks.errors import PeerError
from benchmarks.packets import CONNACK_ACCEPTED, encode_connect, encode_suback, encode_subscribe

TOPICS = 64
PAYLOAD_BYTES, NUMBER_BYTES, STAMP_BYTES = 100, 8, 20
DEVICES = 4
WINDOW = 125  # messages of one device that are not acknowledged
READ_BYTES = 1 << 18
QUIET_S = 5.0  # without a message: the rest does not come
LOST_S = 20.0
EXCHANGE_S = 30.0
ONE_BYTE_LENGTH = 0x80


class PacketClient:
    """A raw MQTT 3.1.1 connection that counts whole packets."""

    def __init__(
        self, port: int, name: str, subscribe: str = "", on_packet: Callable[[bytes], object] = len
    ) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), EXCHANGE_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._exchange(encode_connect(name), CONNACK_ACCEPTED)
        if subscribe:
            self._exchange(encode_subscribe(subscribe, 0), encode_suback(0))
        self.sock.setblocking(False)
        self.packets = 0
        self.sent = 0
        self.unsent = b""
        self._on_packet = on_packet
        self._rest = b""

    def _exchange(self, asked: bytes, expected: bytes) -> None:
        self.sock.sendall(asked)
        got = b""
        while len(got) < len(expected):
            data = self.sock.recv(len(expected) - len(got))
            if not data:
                raise PeerError("cannot connect: the gateway hung up")
            got += data
        if got != expected:
            raise PeerError(f"cannot connect: {got.hex()}")

    def flush(self) -> None:
        """Send what the socket takes."""
        if self.unsent:
            with suppress(BlockingIOError):
                self.unsent = self.unsent[self.sock.send(self.unsent) :]

    def read(self) -> None:
        """Read what is there."""
        try:
            data = self._rest + self.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        if len(data) == len(self._rest):
            raise PeerError("the gateway hung up")
        at = 0
        while len(data) - at >= 2:
            length, body = data[at + 1], at + 2
            if length & ONE_BYTE_LENGTH:
                if len(data) - at < 3:
                    break
                length, body = length & 0x7F | data[at + 2] << 7, at + 3
            if body + length > len(data):
                break
            self._on_packet(data[at : body + length])
            self.packets += 1
            at = body + length
        self._rest = data[at:]


def encode_numbered(number: int, qos: int = 1) -> bytes:
    """Return a PUBLISH to one of the topics, with its number in the payload."""
    topic = b"in/%d" % (number % TOPICS)
    packet_id = (number % 50_000 + 1).to_bytes(2, "big") if qos else b""
    payload = (b"%0*d" % (NUMBER_BYTES, number)).ljust(PAYLOAD_BYTES, b"x")
    body = len(topic).to_bytes(2, "big") + topic + packet_id + payload
    length = len(body)
    short = length < ONE_BYTE_LENGTH
    head = bytes((length,)) if short else bytes((length & 0x7F | ONE_BYTE_LENGTH, length >> 7))
    return bytes((0x30 | qos << 1,)) + head + body


@dataclass(frozen=True, slots=True)
class LoadCounts:
    """The counts of one rate."""

    sent: int
    accepted_per_s: float  # acknowledged by the broker while it was sent
    handled_per_s: float  # in the same time
    handled: int  # different ones, until no more came
    repeated: int


@dataclass(frozen=True, slots=True)
class ProbeTime:
    """The times of one message, in seconds; the stamp is the handler's (perf_counter)."""

    sent: float
    received: float
    stamp: float


class HandlerLoad:
    """Some devices and a subscriber to out/#."""

    def __init__(self, port: int) -> None:
        self._devices = [PacketClient(port, f"device-{n}") for n in range(DEVICES)]
        self._subscriber = PacketClient(port, "reader", "out/#", self._take)
        self._selector = selectors.DefaultSelector()
        for each in (*self._devices, self._subscriber):
            self._selector.register(each.sock, selectors.EVENT_READ, each)
        self._number = 0  # of the next message
        self._seen: set[int] = set()
        self._repeated = 0
        self._last = b""

    def _take(self, packet: bytes) -> None:
        self._last = packet
        number = int(packet[-PAYLOAD_BYTES : NUMBER_BYTES - PAYLOAD_BYTES])
        if number in self._seen:
            self._repeated += 1
        self._seen.add(number)

    def close(self) -> None:
        """Close all."""
        self._selector.close()
        for each in (*self._devices, self._subscriber):
            each.sock.close()

    def _wait(self, seconds: float) -> None:
        for key, _ in self._selector.select(max(seconds, 0)):
            key.data.read()

    def run(self, rate: int, seconds: float) -> LoadCounts:
        """Publish at a rate, as far as the broker acknowledges; wait until all is handled."""
        devices, first = self._devices, self._number
        repeated, seen = self._repeated, len(self._seen)
        for each in devices:
            each.packets = each.sent = 0
        begun = now = time.perf_counter()
        while (now := time.perf_counter()) - begun < seconds:
            self._send(int((now - begun) * rate) - (self._number - first))
            self._wait(0.0005)
        within = now - begun
        accepted, handled = sum(each.packets for each in devices), len(self._seen) - seen
        sent = self._number - first
        self._drain(lambda: len(self._seen) - seen >= sent)
        return LoadCounts(
            sent, accepted / within, handled / within,
            len(self._seen) - seen, self._repeated - repeated,
        )  # fmt: skip

    def _send(self, due: int) -> None:
        """Send messages that are due, spread over the devices with room in their window."""
        for device in self._devices:
            share = -(-due // len(self._devices))
            room = WINDOW - (device.sent - device.packets)
            for _ in range(min(share, room)):
                device.unsent += encode_numbered(self._number)
                device.sent += 1
                self._number += 1
            device.flush()

    def _drain(self, is_done: Callable[[], bool]) -> None:
        """Read until all has come, or nothing for some time."""
        quiet = time.perf_counter()
        while time.perf_counter() - quiet < QUIET_S:
            before = self._subscriber.packets + sum(each.packets for each in self._devices)
            for device in self._devices:
                device.flush()
            self._wait(0.02)
            acked = sum(each.packets for each in self._devices)
            if is_done() and acked >= sum(each.sent for each in self._devices):
                return
            if self._subscriber.packets + acked != before:
                quiet = time.perf_counter()

    def probe(self, qos: int, count: int, pause_s: float) -> list[ProbeTime]:
        """Publish one message after the other; return the times of each."""
        device, times = self._devices[0], []
        for _ in range(count):
            _wait_until(time.perf_counter() + pause_s, self._wait)
            seen, number = len(self._seen), self._number
            self._number += 1
            packet = encode_numbered(number, qos)
            sent = time.perf_counter()
            device.sock.sendall(packet)
            while len(self._seen) == seen:
                self._wait(1.0)
                if time.perf_counter() - sent > LOST_S:
                    raise PeerError("cannot measure: a message did not come back")
            received = time.perf_counter()
            stamp = self._last[-PAYLOAD_BYTES - STAMP_BYTES : -PAYLOAD_BYTES]
            times.append(ProbeTime(sent, received, int(stamp) / 1e9 if stamp.isdigit() else 0.0))
        return times


def _wait_until(due: float, wait: Callable[[float], None]) -> None:
    while (rest := due - time.perf_counter()) > 0:
        wait(rest)
