"""Runs a broker that records the messages of one device, and can be away. Does I/O."""

import asyncio
import time

CONNACK = b"\x20\x02\x00\x00"


class Recorder:
    """Answers MQTT 3.1.1 at QoS 1 and keeps the payloads with their times."""

    def __init__(self) -> None:
        self.received: list[tuple[float, bytes]] = []
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        """Listen, at the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Cut all connections and refuse new ones, as a broker that restarts does."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                first, body = await _read_packet(reader)
                writer.write(self._answer(first, body))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.transport.abort()
        finally:
            self._writers.discard(writer)

    def _answer(self, first: int, body: bytes) -> bytes:
        kind = first >> 4
        if kind == 1:
            return CONNACK
        if kind == 8:
            return b"\x90\x03" + body[:2] + b"\x01"
        if kind == 12:
            return b"\xd0\x00"
        if kind != 3 or not first & 2:
            return b""
        end = 2 + int.from_bytes(body[:2])
        self.received.append((time.monotonic(), body[end + 2 :]))
        answer = b"\x40\x02" + body[end : end + 2]
        topic = body[2:end]
        if topic.endswith(b"/status"):  # the gateway tells the time then
            path, payload = topic[:-6] + b"time", b'{"at": %d}' % time.time()
            told = len(path).to_bytes(2) + path + payload
            answer += bytes((0x30, len(told))) + told
        return answer


async def _read_packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first = (await reader.readexactly(1))[0]
    length = shift = 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return first, await reader.readexactly(length)
