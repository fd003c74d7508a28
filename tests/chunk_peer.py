"""Stands for a device at a link that carries chunks: a port with faults, and an MQTT client."""

import asyncio
import hashlib
import os
import random
import time
from dataclasses import dataclass, field

from gateway.devices.credentials import digest_of, key_id
from gateway.links.keys import CLAIM
from gateway.links.ports import ChunkInbox, LinkClosedError
from protocol.chunks.records import NONCE_BYTES, SecureStream
from protocol.chunks.stream import ReliableStream
from protocol.chunks.wire import ENDING, decode_chunk, decode_end, encode_end
from tests.aio import until

CONNACK, PUBLISH, PUBACK, SUBACK = 2, 3, 4, 9


@dataclass
class Faults:
    """The part of the chunks that a link loses, repeats, delays behind the next one, or spoils."""

    lost: float = 0.0
    repeated: float = 0.0
    late: float = 0.0
    spoiled: float = 0.0
    chance: random.Random = field(default_factory=lambda: random.Random(1))

    def apply(self, chunk: bytes, held: list[bytes]) -> list[bytes]:
        """Return what the link brings instead of a chunk."""
        chance = self.chance.random
        if chance() < self.lost:
            return []
        if chance() < self.spoiled:
            at = self.chance.randrange(len(chunk))
            chunk = chunk[:at] + bytes((chunk[at] ^ 0x55,)) + chunk[at + 1 :]
        if chance() < self.late:
            held.append(chunk)
            return []
        brought = [chunk, *held]
        held.clear()
        return brought * 2 if chance() < self.repeated else brought


class MemoryPort:
    """The gateway's end of a link within this process."""

    def __init__(
        self, name: str = "memory:1", chunk_bytes: int = 182, faults: Faults | None = None
    ) -> None:
        self.name, self.chunk_bytes = name, chunk_bytes
        self.faults = faults or Faults()
        self.inbox, self.outbox = ChunkInbox(), ChunkInbox()
        self._held: tuple[list[bytes], list[bytes]] = ([], [])

    async def read(self) -> bytes:
        return await self.inbox.get()

    async def write(self, chunk: bytes) -> None:
        await asyncio.sleep(0)
        if self.outbox.is_closed:
            raise LinkClosedError("cable out")
        for each in self.faults.apply(chunk, self._held[0]):
            self.outbox.put(each)

    async def close(self) -> None:
        self.cut()

    def bring(self, chunk: bytes) -> None:
        """Bring a chunk of the device, or what the link makes of it."""
        for each in self.faults.apply(chunk, self._held[1]):
            self.inbox.put(each)

    def cut(self) -> None:
        """Pull the cable."""
        self.inbox.close("cable out")
        self.outbox.close("cable out")


class ChunkPeer:
    """A device at a port: one session, and MQTT in it."""

    def __init__(self, port: MemoryPort, who: str, token: bytes, session: int = 1) -> None:
        self.port, self.session = port, session
        self.ended: tuple[int, int] | None = None
        self.packets: list[tuple[int, bytes]] = []  # the first byte, the rest
        key = hashlib.sha256(token).digest()
        name = f"{who}/{key_id(digest_of(token))}".encode()
        self._stream = ReliableStream(session, port.chunk_bytes)
        self._secure = SecureStream(os.urandom(NONCE_BYTES), name=name, key=key)
        self._stream.send(self._secure.hello())
        self._waiting = bytearray()  # until the gateway has said hello
        self._input = bytearray()
        self._wake = asyncio.Event()
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._write())]

    @classmethod
    def with_claim(cls, port: MemoryPort, token: bytes, session: int = 1) -> "ChunkPeer":
        """Return a board that joins."""
        return cls(port, CLAIM, token, session)

    def send(self, data: bytes) -> None:
        """Send bytes of MQTT, each call as one record."""
        if not self._secure.is_ready:
            self._waiting += data
        elif not self._stream.send(self._secure.encode(data)):
            raise ValueError("cannot send: the queue is full")
        self._wake.set()

    def connect(self, client_id: str, user: str, password: bytes) -> None:
        """Send CONNECT, MQTT 3.1.1, with a clean session and a will."""
        head = text("MQTT") + b"\x04\xc6\x00\x3c"
        will = text(f"devices/{client_id}/status") + text("offline")
        self.send(packet(0x10, head + text(client_id) + will + text(user) + text(password)))

    def publish(self, topic: str, payload: bytes, packet_id: int) -> None:
        """Send PUBLISH at QoS 1."""
        self.send(packet(0x32, text(topic) + packet_id.to_bytes(2) + payload))

    def subscribe(self, topic_filter: str) -> None:
        """Send SUBSCRIBE at QoS 1."""
        self.send(packet(0x82, b"\xff\xff" + text(topic_filter) + b"\x01"))

    async def expect(self, kind: int) -> bytes:
        """Return the rest of the next packet of a kind; others before it are dropped."""
        while True:
            while self.packets:
                first, rest = self.packets.pop(0)
                if first >> 4 == kind:
                    return rest
            if self.ended is not None:
                raise ConnectionError(f"session ended: {self.ended}")
            self._wake.set()
            await asyncio.sleep(0.005)

    async def until_ended(self) -> tuple[int, int]:
        """Return the end that the gateway has told."""
        await until(lambda: self.ended, "the gateway ends the session")
        assert self.ended is not None
        return self.ended

    async def close(self, *, tell: bool = False) -> None:
        """Stop; tell the gateway if asked."""
        if tell:
            self.port.bring(encode_end(self.session, 0))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _read(self) -> None:
        while True:
            octets = await self.port.outbox.get()
            chunk = decode_chunk(octets)
            if chunk is not None and chunk.session == ENDING:
                end = decode_end(chunk)
                if end is not None and end[0] == self.session:
                    self.ended = end
            self._input += b"".join(self._secure.feed(self._stream.receive(octets)))
            if self._secure.is_ready and self._waiting:
                self._stream.send(self._secure.encode(bytes(self._waiting)))
                self._waiting.clear()
            self._take_packets()
            self._wake.set()

    async def _write(self) -> None:
        while True:
            self._wake.clear()
            for chunk in self._stream.poll(time.monotonic()):
                self.port.bring(chunk)
            try:
                async with asyncio.timeout(0.02):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def _take_packets(self) -> None:
        while len(self._input) >= 2:
            length, at, shift = 0, 1, 0
            while at < len(self._input):
                byte = self._input[at]
                length, at, shift = length | (byte & 127) << shift, at + 1, shift + 7
                if byte < 128:
                    break
            else:
                return
            if len(self._input) < at + length:
                return
            self.packets.append((self._input[0], bytes(self._input[at : at + length])))
            del self._input[: at + length]


def text(value: str | bytes) -> bytes:
    """Return a string of MQTT."""
    octets = value.encode() if isinstance(value, str) else value
    return len(octets).to_bytes(2) + octets


def packet(first: int, rest: bytes) -> bytes:
    """Return a packet of MQTT."""
    length, size = bytearray(), len(rest)
    while True:
        size, low = divmod(size, 128)
        length.append(low | (0x80 if size else 0))
        if not size:
            return bytes((first, *length)) + rest
