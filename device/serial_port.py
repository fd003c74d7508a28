"""Carries chunks over a serial line: a UART, the line of the REPL, or a path on the Unix port.

Each chunk is encoded by COBS (Cheshire and Baker, 1999) between two zero bytes. The bytes between
chunks are text: output of the program, and input of a person. On the line of the REPL Ctrl-C stops
the program as ever, though not by the interpreter, for chunks hold that byte, too.
"""

import asyncio

from device.errors import LinkLost
from micropython import const

_CHUNK_BYTES = const(200)
_READ_BYTES = const(64)
_PENDING_BYTES = const(600)  # of a chunk that is not whole
# Ctrl-C twice, and what mpremote sends. A chunk cannot begin so: its second byte is the number of its
# session, which is larger, or follows the code 1.
_INTERRUPTS = (b"\x03\x03", b"\r\x03")


def encode_cobs(octets):
    """Return bytes between two zeros, and without others."""
    out = bytearray(b"\0")
    for part in octets.split(b"\0"):
        while len(part) >= 254:
            out += b"\xff" + part[:254]
            part = part[254:]
        out.append(len(part) + 1)
        out += part
    out.append(0)
    return bytes(out)


def decode_cobs(octets):
    """Return the bytes between two zeros as they were; None when they are spoiled, or text."""
    out = bytearray()
    at, size = 0, len(octets)
    while at < size:
        code = octets[at]
        if at + code > size:
            return None
        out += octets[at + 1 : at + code]
        at += code
        if code != 0xFF and at < size:
            out.append(0)
    return bytes(out)


class SerialChunkPort:
    """A serial line as a port of chunk_socket.py; line is an object with read(), write(), close()."""

    chunk_bytes = _CHUNK_BYTES

    def __init__(self, line):
        self._line = line
        self._pending = b""
        self._found = []

    async def send(self, chunk):
        """Send a chunk."""
        frame = memoryview(encode_cobs(chunk))
        while frame:
            await self._line.writable()
            frame = frame[self._line.write(frame) or 0 :]

    async def receive(self):
        """Return the next chunk."""
        while not self._found:
            octets = await self._line.read(_READ_BYTES)
            if octets is not None and not octets:
                raise LinkLost("the serial line is closed")
            self._feed(octets or b"")
        return self._found.pop(0)

    def close(self, chunk):
        """Send a last chunk if the line takes it, and give the line back."""
        try:
            self._line.write(encode_cobs(chunk))
        except OSError:
            pass
        self._line.close()

    def _feed(self, octets):
        parts = (self._pending + octets).split(b"\0")
        self._pending = parts.pop()
        for part in parts:
            chunk = decode_cobs(part) if part else None
            if chunk is not None and len(chunk) >= 7:
                self._found.append(chunk)
        if self._line.is_console and self._pending.startswith(_INTERRUPTS):
            self._line.release()
            raise KeyboardInterrupt
        if len(self._pending) > _PENDING_BYTES:  # noise, or text
            self._pending = b""


async def open_port(config, board):
    """Return the port of the line that config names."""
    return SerialChunkPort(board.open_serial(config.serial, config.baud))
