"""`hecate broker --data` under load: its memory stays within its limits, whatever is sent."""

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

JOURNAL = JournalLimits()
# what is not committed yet exists as a message and as its record, and while a batch is written
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


# case B2
@pytest.mark.parametrize(
    ("size", "count", "window"),
    [
        (2_000, 20_000, 500),
        (100_000, 3_000, 60),
        (1_900_000, 200, 7),
    ],
)
def test_memory_is_bounded_while_a_stored_session_acknowledges_all(
    program: tuple[Program, int], size: int, count: int, window: int
) -> None:
    process_id, port = program[0].process.pid, program[1]
    reader, sender = Line(port, b"reader", stays=True), Line(port, b"sender", stays=False)
    reader.send(0x82, b"\x00\x01" + _text(b"t") + b"\x01")
    reader.take()
    idle_bytes = _read_rss(process_id)
    came: list[int] = []

    def read() -> None:
        while len(came) < count:
            _, body = reader.take()
            reader.send(0x40, body[3:5])
            came.append(len(body) - 5)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    payload, highest = b"x" * size, 0
    for number in range(count):
        if number >= window:
            assert sender.take()[0] == 0x40
        sender.send(0x32, _text(b"t") + (number % 65_535 + 1).to_bytes(2, "big"), payload)
        if not number % 20:
            highest = max(highest, _read_rss(process_id))
    for _ in range(min(window, count)):
        assert sender.take()[0] == 0x40
    thread.join(WAIT_S)
    assert came == [size] * count
    highest = max(highest, _read_rss(process_id))
    assert highest - idle_bytes <= BOUND_BYTES
    reader.close()
    sender.close()
