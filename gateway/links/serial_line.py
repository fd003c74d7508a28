"""Carries chunks over one serial port, which never makes the event loop wait."""

import asyncio
import errno
import os

import serial  # type: ignore[import-untyped]  # it has no types

from gateway.links.ports import ChunkInbox, LinkClosedError
from protocol.chunks.wire import CobsDecoder, encode_cobs

READ_BYTES = 4096


class SerialLine:
    """An open serial port, with the interface of a chunk port.

    What stands between chunks is text: a board prints on the line of its REPL. It is skipped.
    """

    def __init__(self, name: str, opened: serial.Serial, chunk_bytes: int) -> None:
        self.name, self.chunk_bytes = name, chunk_bytes
        self._serial, self._descriptor = opened, opened.fileno()
        self._decoder, self._inbox = CobsDecoder(), ChunkInbox()
        self._loop = asyncio.get_running_loop()
        self._writing = asyncio.Lock()
        self._is_open = True
        self._loop.add_reader(self._descriptor, self._take)

    async def read(self) -> bytes:
        """Return the next chunk."""
        return await self._inbox.get()

    async def write(self, chunk: bytes) -> None:
        """Send a chunk; wait while the port is busy."""
        async with self._writing:
            left = memoryview(encode_cobs(chunk))
            while left:
                if not self._is_open:
                    raise LinkClosedError("the port is closed")
                try:
                    left = left[os.write(self._descriptor, left) :]
                except BlockingIOError:
                    await self._until_writable()
                except OSError as exc:
                    raise LinkClosedError(_why(exc)) from exc

    async def close(self) -> None:
        """Close the port."""
        self._shut("the port is closed")

    async def _until_writable(self) -> None:
        ready = asyncio.Event()
        self._loop.add_writer(self._descriptor, ready.set)
        try:
            await ready.wait()
        finally:
            if self._is_open:
                self._loop.remove_writer(self._descriptor)

    def _take(self) -> None:
        try:
            octets = os.read(self._descriptor, READ_BYTES)
        except BlockingIOError:
            return
        except OSError as exc:
            self._shut(_why(exc))
            return
        if not octets:
            self._shut("unplugged")
            return
        for chunk in self._decoder.feed(octets):
            self._inbox.put(chunk)

    def _shut(self, why: str) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self._loop.remove_reader(self._descriptor)
        self._loop.remove_writer(self._descriptor)
        self._inbox.close(why)
        self._serial.close()


def open_serial(path: str, baud: int) -> serial.Serial:
    """Open a port for this program alone; LinkClosedError when it cannot be opened. May block."""
    try:
        return serial.Serial(path, baud, timeout=0, exclusive=True)
    except (serial.SerialException, ValueError, OSError) as exc:
        raise LinkClosedError(f"cannot open {path}: {exc}") from exc


def _why(error: OSError) -> str:
    if error.errno in (errno.EIO, errno.ENXIO, errno.ENODEV):
        return "unplugged"
    return (error.strerror or str(error)).lower()
