"""`hecate broker --data` under load: its memory stays within its limits, whatever is sent."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import Limits
from broker.journal import JournalLimits
from tests.programs import HECATE, PATIENCE, Program

MIB = 1 << 20
WAIT_S = 20 * PATIENCE
PUBACK, PINGREQ, PINGRESP = 0x40, 0xC0, 0xD0

JOURNAL = JournalLimits()
# an uncommitted message exists as a message and as its record, and while a batch is written
# once more; a segment is read whole, and its records are cut out of it
BOUND_BYTES = (
    2 * JOURNAL.queued_bytes
    + 2 * JOURNAL.batch_bytes
    + 2 * JOURNAL.segment_bytes
    + Limits().queued_bytes
    + Limits().output_bytes
    + 8 * MIB  # the allocator's slack
)


class Line:
    """One connection by hand: nothing but the bytes, so that the broker has the processor."""

    def __init__(self, port: int, client_id: bytes, *, stays: bool) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), WAIT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self.socket.makefile("rb", 1 << 20)
        flags = bytes((2 * (not stays),))
        self.send(0x10, b"\x00\x04MQTT\x04" + flags + b"\x00\x00" + _text(client_id))
        assert self.take() == (0x20, b"\x00\x00")

    def send(self, first: int, body: bytes, payload: bytes = b"") -> None:
        size, length = len(body) + len(payload), b""
        while size > 127:
            length += bytes((size & 127 | 128,))
            size >>= 7
        self.socket.sendall(bytes((first,)) + length + bytes((size,)) + body + payload)

    def take(self) -> tuple[int, bytes]:
        first, size, shift = self._file.read(1)[0], 0, 0
        while True:
            byte = self._file.read(1)[0]
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return first, self._file.read(size)

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)  # wakes who reads
        self._file.close()
        self.socket.close()


def _text(text: bytes) -> bytes:
    return len(text).to_bytes(2, "big") + text


def _read_rss(process_id: int) -> int:
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


@pytest.fixture
def program(tmp_path: Path) -> Iterator[tuple[Program, int]]:
    command = [*HECATE, "broker", "--anonymous", "--listen", "127.0.0.1:0"]
    with Program([*command, "--data", str(tmp_path)]) as running:
        yield running, int(running.wait_for(r"broker ready: MQTT 127\.0\.0\.1:(\d+)")[1])


class Reader:
    """Acknowledges all; knows how much of that the broker has heard."""

    def __init__(self, port: int, topic: bytes) -> None:
        self._line, self._topic = Line(port, b"reader " + topic, stays=True), topic
        self._line.send(0x82, b"\x00\x01" + _text(topic) + b"\x01")
        self._line.take()
        self._heard = threading.Condition()
        self._settled = 0
        self.sizes: list[int] = []

    def read(self) -> None:
        """Take messages to the end of the connection."""
        with contextlib.suppress(OSError, ValueError, IndexError):
            while True:
                self._take()

    def _take(self) -> None:
        first, body = self._line.take()
        if first == PINGRESP:  # the packets before the ping are handled
            with self._heard:
                self._settled += 1
                self._heard.notify()
        else:
            self.sizes.append(len(body) - 4 - len(self._topic))
            self._line.send(PUBACK, body[2 + len(self._topic) :][:2])
            self._line.send(PINGREQ, b"")

    def wait_for(self, count: int) -> None:
        """Wait until the broker keeps nothing of the first so many."""
        with self._heard:
            assert self._heard.wait_for(lambda: self._settled >= count, WAIT_S)

    def close(self) -> None:
        self._line.close()


# case B2
# A broker drops what a reader leaves in its queue beyond the limit, so each has a part of the
# window that fits. What it has acknowledged counts from when the broker has heard it, which may
# hear the sender more often.
@pytest.mark.parametrize(
    ("size", "count", "window", "readers"),
    [
        (2_000, 20_000, 500, 1),
        (100_000, 3_000, 60, 2),
        (1_900_000, 200, 7, 4),
    ],
)
def test_memory_is_bounded_while_a_stored_session_acknowledges_all(
    program: tuple[Program, int], size: int, count: int, window: int, readers: int
) -> None:
    process_id, port = program[0].process.pid, program[1]
    assert -(-window // readers) * (size + 100) <= Limits().queued_bytes
    with contextlib.ExitStack() as stack:
        takers = [
            stack.enter_context(contextlib.closing(Reader(port, b"t%d" % number)))
            for number in range(readers)
        ]
        sender = stack.enter_context(contextlib.closing(Line(port, b"sender", stays=False)))
        idle_bytes = _read_rss(process_id)
        for each in takers:
            threading.Thread(target=each.read, daemon=True).start()
        payload, highest = b"x" * size, 0
        for number in range(count):
            if number >= window:
                assert sender.take()[0] == PUBACK
                before, taker = divmod(number - window, readers)
                takers[taker].wait_for(before + 1)
            packet_id = (number % 65_535 + 1).to_bytes(2, "big")
            sender.send(0x32, _text(b"t%d" % (number % readers)) + packet_id, payload)
            if not number % 20:
                highest = max(highest, _read_rss(process_id))
        for _ in range(min(window, count)):
            assert sender.take()[0] == PUBACK
        for each in takers:
            each.wait_for(count // readers)
            assert each.sizes == [size] * (count // readers)
        highest = max(highest, _read_rss(process_id))
        assert highest - idle_bytes <= BOUND_BYTES
