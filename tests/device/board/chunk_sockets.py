"""The stream of a socket over chunks: bounds, ends and errors. MicroPython only."""

import asyncio

from device import chunks
from device.chunk_socket import open_socket
from device.errors import CredentialsRefused, LinkLost

HELLO = b"\x01\x00" + b"g" * 16


class Port:
    """A link whose other end is the test."""

    chunk_bytes = 100

    def __init__(self):
        self.sent = []
        self.closed = None
        self.error = None
        self._brought = []
        self._event = asyncio.Event()

    def bring(self, chunk):
        self._brought.append(chunk)
        self._event.set()

    def bring_data(self, offset, data, ack=0):
        self.bring(chunks.encode_chunk(self.session, offset, ack, data))

    @property
    def session(self):
        return self.sent[0][0]

    async def send(self, chunk):
        if self.error:
            raise self.error
        self.sent.append(chunk)

    async def receive(self):
        while not self._brought:
            self._event.clear()
            await self._event.wait()
        return self._brought.pop(0)

    def close(self, chunk):
        self.closed = chunk


async def begin(port):
    opening = asyncio.create_task(open_socket(port, "dev-1", "token"))
    while not port.sent:
        await asyncio.sleep_ms(1)
    return opening


async def opened(port):
    opening = await begin(port)
    port.bring_data(0, HELLO, len(port.sent[0]) - 7)
    return await opening


def error_of(work):
    try:
        asyncio.run(work)
    except Exception as exc:
        return exc
    raise AssertionError("no error")


def test_writes_wait_for_a_gateway_that_acknowledges_nothing():
    async def work():
        port = Port()
        stream = await opened(port)
        written = 0
        try:
            while written < 50000:
                stream.write(b"x" * 200)
                await asyncio.wait_for_ms(stream.drain(), 50)
                written += 200
            raise AssertionError("no bound")
        except asyncio.TimeoutError:
            pass
        assert written < 2000
        assert stream._stream.queued() < 2000
        stream.close()
        assert chunks.decode_end(port.closed, stream.session) == 0

    asyncio.run(work())


def test_input_that_nobody_takes_is_bounded():
    async def work():
        port = Port()
        stream = await opened(port)
        stream._sealed.feed = lambda data: [data]  # a gateway that has the key
        offset = len(HELLO)
        for _ in range(100):
            port.bring_data(offset, b"y" * 90)
            offset += 90
            await asyncio.sleep_ms(0)
            await asyncio.sleep_ms(0)
        assert 1024 <= len(stream._input) < 1200
        buffer = bytearray(64)
        assert await stream.readinto(memoryview(buffer)) == 64
        assert buffer == b"y" * 64
        stream.close()

    asyncio.run(work())


def test_ends_are_told_apart():
    async def ended(reason, is_open):
        port = Port()
        waiting = asyncio.create_task(open_socket(port, "dev-1", "token"))
        while not port.sent:
            await asyncio.sleep_ms(1)
        if is_open:
            port.bring_data(0, HELLO, len(port.sent[0]) - 7)
            stream = await waiting
        port.bring(chunks.encode_chunk(0, 0, 0, bytes((port.session ^ 1, reason))))  # another's
        port.bring(chunks.encode_chunk(0, 0, 0, bytes((port.session, reason))))
        if not is_open:
            return await waiting
        await stream.readinto(memoryview(bytearray(8)))

    assert type(error_of(ended(2, False))) is CredentialsRefused
    assert type(error_of(ended(2, True))) is LinkLost
    assert type(error_of(ended(1, False))) is LinkLost
    assert "closed" in str(error_of(ended(0, True)))


def test_errors_of_the_link_and_forged_records_end_the_connection():
    async def with_error():
        port = Port()
        stream = await opened(port)
        port.error = OSError(5)
        stream.write(b"x")
        await stream.drain()
        await stream.readinto(memoryview(bytearray(8)))

    async def with_forged_record():
        port = Port()
        stream = await opened(port)
        port.bring_data(len(HELLO), b"\x00\x01" + b"f" * 9)
        await stream.readinto(memoryview(bytearray(8)))

    assert type(error_of(with_error())) is LinkLost
    assert "does not have the key" in str(error_of(with_forged_record()))
