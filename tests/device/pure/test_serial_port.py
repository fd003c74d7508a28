"""Chunks on a serial line, between text and noise; runs on CPython and on MicroPython."""

from device import chunks, serial_port


class Line:
    """A line that nobody reads; only what is fed counts."""

    def __init__(self, is_console: bool = False) -> None:
        self.is_console = is_console
        self.released = False
        self.closed = False
        self.written = b""

    def release(self) -> None:
        self.released = True

    def write(self, octets: bytes) -> int:
        self.written += octets
        return len(octets)

    def close(self) -> None:
        self.closed = True


def found_in(port: serial_port.SerialChunkPort, octets: bytes, step: int = 1) -> "list[bytes]":
    for at in range(0, len(octets), step):
        port._feed(octets[at : at + step])
    taken: list[bytes] = port._found
    port._found = []
    return taken


def test_cobs() -> None:
    for octets in (
        b"",
        b"\0",
        b"\0\0",
        b"a",
        bytes(range(256)) * 2,
        b"x" * 253,
        b"x" * 254,
        b"x" * 255,
        b"x" * 254 + b"\0y",
    ):
        frame = serial_port.encode_cobs(octets)
        assert frame[0] == frame[-1] == 0
        assert 0 not in frame[1:-1]
        assert serial_port.decode_cobs(frame[1:-1]) == octets
    assert serial_port.decode_cobs(b"\x09abc") is None


def test_chunks_between_text_and_noise() -> None:
    chunk = chunks.encode_chunk(200, 0, 0, b"data\0data")
    frame = serial_port.encode_cobs(chunk)
    for step in (1, 3, 64):
        port = serial_port.SerialChunkPort(Line())
        line = b"a line of text\r\n" + frame + b"more \xff\xfe" + frame + frame
        assert found_in(port, line, step) == [chunk] * 3


def test_text_without_end_is_not_kept() -> None:
    port = serial_port.SerialChunkPort(Line())
    assert found_in(port, b"x" * 10000, 100) == []
    assert len(port._pending) <= 600
    chunk = chunks.encode_chunk(200, 0, 0, b"")
    assert found_in(port, serial_port.encode_cobs(chunk), 64) == [chunk]


def test_a_person_at_the_console_is_heard_and_chunks_are_not_taken_for_one() -> None:
    for typed in (b"\r\x03", b"\x03\x03"):
        line = Line(True)
        port = serial_port.SerialChunkPort(line)
        found_in(port, serial_port.encode_cobs(chunks.encode_chunk(200, 0, 0, b"")))
        try:
            found_in(port, typed)
            raise AssertionError("not heard")
        except KeyboardInterrupt:
            assert line.released
    port = serial_port.SerialChunkPort(Line(True))
    for session in range(16, 256):  # of which a device chooses
        for offset in (0, 0x0300, 0x0303, 0x0D03):
            for chunk in (
                chunks.encode_chunk(session, offset, 0x0303, b"\x03\x03\r\x03" * 3),
                chunks.encode_end(session),
            ):
                assert found_in(port, serial_port.encode_cobs(chunk)) == [chunk]


def test_the_last_chunk_is_sent_at_once() -> None:
    line = Line()
    serial_port.SerialChunkPort(line).close(b"1234567")
    assert line.closed
    assert serial_port.decode_cobs(line.written[1:-1]) == b"1234567"
