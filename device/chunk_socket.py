"""Gives mqtt.py the stream of a socket over a link that carries chunks. Loaded when config names one.

A port is one object with
    chunk_bytes         the largest chunk that the link is said to carry
    async send(chunk)   waits while the link is busy
    async receive()     returns the next chunk; LinkLost when the link has ended
    close(chunk)        sends a last chunk if that is possible at once, and gives the link back

Two tasks move chunks. Both queues are bounded: a writer waits in drain(), and chunks that bring
more than mqtt.py has taken are dropped, for the gateway sends them again. An exception in a task
ends the connection.
"""

import asyncio
import os
import time

from device.calls import describe
from device.errors import CredentialsRefused, DeviceError, LinkLost
from device.flash import load
from micropython import const

_FIRST_SESSION = const(16)  # lower numbers: see _INTERRUPTS in serial_port.py
_INPUT_BYTES = const(1024)  # input that mqtt.py has not taken
_QUEUE_BYTES = const(512)  # output that waits for the window
_RECORD_BYTES = const(512)  # of MQTT in one record
_NONCE_BYTES = const(16)
_REFUSED = const(2)
_ENDS = ("the gateway closed the session", "the gateway does not know this session")


async def open_socket(port, who, token):
    """Return a ChunkSocket whose gateway has said hello; the key is proved by its first record."""
    sealed = load("sealed")
    name, key = sealed.name_and_key(who, token)
    opened = ChunkSocket(port, sealed.SealedStream(os.urandom(_NONCE_BYTES), name, key))
    sealed = None  # its last user frees its memory
    try:
        await opened.wait_until_ready()
    except BaseException:
        opened.close()
        raise
    return opened


class ChunkSocket:
    """The streams of one session, with the interface of a socket's stream."""

    def __init__(self, port, sealed):
        self.s = self  # of a stream, close() is a method of its socket
        self.session = _FIRST_SESSION + os.urandom(1)[0] % (256 - _FIRST_SESSION)
        self._chunks = load("chunks")
        self._port = port
        self._stream = self._chunks.ChunkStream(self.session, port.chunk_bytes)
        self._sealed = sealed
        self._stream.send(self._sealed.hello())
        self._input = b""
        self._output = b""
        self._error = None
        self._ticks = time.ticks_ms()
        self._elapsed = 0  # milliseconds, which do not go round as ticks do
        self._has_work = asyncio.Event()
        self._has_input = asyncio.Event()  # or the gateway's hello, or an error
        self._has_room = asyncio.Event()
        self._tasks = [
            asyncio.create_task(self._guard(self._receive())),
            asyncio.create_task(self._guard(self._send())),
        ]

    async def wait_until_ready(self):
        """Return when the gateway has said hello."""
        while not self._sealed.is_ready:
            await self._wait(self._has_input)

    async def readinto(self, buffer):
        """Take what has come; wait for it."""
        while not self._input:
            await self._wait(self._has_input)
        count = min(len(buffer), len(self._input))
        buffer[:count] = self._input[:count]
        self._input = self._input[count:]
        return count

    def write(self, data):
        """Take bytes; drain() sends them."""
        self._output += bytes(data)

    async def drain(self):
        """Pass all on to the link's window and queue; wait for room there."""
        while self._output:
            if self._stream.queued() > _QUEUE_BYTES:
                await self._wait(self._has_room)
                continue
            record = self._sealed.encode(self._output[:_RECORD_BYTES])
            self._output = self._output[_RECORD_BYTES:]
            self._stream.send(record)
            self._has_work.set()
        if self._error is not None:
            raise self._error

    def close(self):
        """Tell the gateway, and give the link back."""
        tasks, self._tasks = self._tasks, ()
        for task in tasks:
            task.cancel()
        if tasks:
            self._fail(LinkLost("the connection was closed"))
            self._port.close(self._chunks.encode_end(self.session))

    async def _wait(self, event):
        if self._error is not None:
            raise self._error
        event.clear()
        await event.wait()

    def _fail(self, error):
        self._error = self._error or error
        self._has_input.set()
        self._has_room.set()

    async def _guard(self, work):
        try:
            await work
        except Exception as exc:
            is_ours = isinstance(exc, (DeviceError, OSError))
            if not is_ours:
                print("device: a link ended with", describe(exc))
            self._fail(exc if isinstance(exc, DeviceError) else LinkLost(describe(exc)))

    async def _receive(self):
        stream = self._stream
        while True:
            chunk = await self._port.receive()
            end = self._chunks.decode_end(chunk, self.session)
            if end is not None:
                self._raise_end(end)
            data = stream.receive(chunk, len(self._input) < _INPUT_BYTES)
            if data:
                self._take(data)
            if stream.queued() <= _QUEUE_BYTES:
                self._has_room.set()
            self._has_work.set()

    def _take(self, data):
        try:
            self._input += b"".join(self._sealed.feed(data))
        except Exception as exc:
            raise LinkLost(describe(exc))
        self._has_input.set()

    def _raise_end(self, reason):
        if reason == _REFUSED and not self._sealed.is_ready:
            raise CredentialsRefused("the gateway does not know the key")
        if reason == _REFUSED:
            raise LinkLost("the gateway could not open a record")
        raise LinkLost(_ENDS[min(reason, 1)])

    async def _send(self):
        stream = self._stream
        while True:
            self._has_work.clear()
            for chunk in stream.poll(self._now()):
                await self._port.send(chunk)
            if stream.failed:
                raise LinkLost("the gateway acknowledges nothing")
            due = stream.next_due()
            if due is None:
                await self._has_work.wait()
                continue
            try:
                await asyncio.wait_for_ms(self._has_work.wait(), max(due - self._now(), 1))
            except asyncio.TimeoutError:
                pass

    def _now(self):
        ticks = time.ticks_ms()
        self._elapsed += time.ticks_diff(ticks, self._ticks)
        self._ticks = ticks
        return self._elapsed
