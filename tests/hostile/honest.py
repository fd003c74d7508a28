"""Plays honest clients: pairs that publish and subscribe at QoS 1, and measure their latency.

Two clocks run: the wall's, and the processor time of the broker, which says how much it did for
anybody while a message was under way, whatever else the machine does meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Self

from broker.wire import decode_packet, encode_packet
from broker.wire.packets import (
    MQTT_5,
    Connect,
    Packet,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    Subscription,
)

HOST = "127.0.0.1"
PAIRS = 10
PERIOD_S = 0.02  # of each pair: 500 messages a second in all
LATE_S = 20.0  # after which a message counts as lost


@dataclass(frozen=True, slots=True)
class Delay:
    """99th percentiles of what messages took."""

    wall_s: float
    work_s: float  # of the broker


class Pair:
    """One publisher, one subscriber, a topic of their own."""

    def __init__(self, number: int, broker: int) -> None:
        # the value of C's clock_getcpuclockid() for a process; Python does not have it
        self._work = ~broker << 3 | 2
        self.topic = f"honest/{number}/a/b"
        self.name = f"honest-{number}"
        self.sent = self.acknowledged = 0
        self.seen: set[int] = set()
        self.times: list[tuple[float, float]] = []  # wall, work
        self.faults: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False

    @property
    def is_complete(self) -> bool:
        return len(self.seen) == self.sent == self.acknowledged

    async def start(self, port: int) -> None:
        self._source, self._sink = await _dial(port, f"{self.name}-in")
        _, self._out = streams = await _dial(port, f"{self.name}-out")
        self._sink.write(encode_packet(Subscribe(1, (Subscription(self.topic, 1),)), MQTT_5))
        self._subscribed = asyncio.Event()
        self._tasks = [
            asyncio.create_task(self._read(self._source)),
            asyncio.create_task(self._read(streams[0])),
        ]
        await asyncio.wait_for(self._subscribed.wait(), LATE_S)

    async def publish(self) -> None:
        """Publish at a steady pace until cancelled."""
        while True:
            packet_id = self.sent % 65_535 + 1
            payload = b"%d %.6f %.6f" % (self.sent, *self._look())
            packet = Publish(self.topic, payload, 1, packet_id=packet_id)
            self._out.write(encode_packet(packet, MQTT_5))
            self.sent += 1
            await asyncio.sleep(PERIOD_S)

    def _look(self) -> tuple[float, float]:
        return time.perf_counter(), time.clock_gettime(self._work)

    async def close(self) -> None:
        self._closing = True
        self._sink.close()
        self._out.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        buffer = b""
        while data := await reader.read(65_536):
            buffer += data
            while decoded := decode_packet(buffer, MQTT_5):
                packet, used = decoded
                buffer = buffer[used:]
                self._take(packet)
        if not self._closing:
            self.faults.append("the broker closed an honest connection")

    def _take(self, packet: Packet) -> None:
        match packet:
            case Publish():
                number, wall, work = packet.payload.split()
                now = self._look()
                self.times.append((now[0] - float(wall), now[1] - float(work)))
                if int(number) in self.seen:
                    self.faults.append(f"{number!r} came twice")
                self.seen.add(int(number))
                assert packet.packet_id is not None
                self._sink.write(encode_packet(PubAck(packet.packet_id), MQTT_5))
            case PubAck():
                self.acknowledged += 1
            case SubAck():
                self._subscribed.set()
            case _:
                self.faults.append(f"unexpected {packet}")


class Honest:
    """All pairs; a context that ends them."""

    def __init__(self, port: int, broker: int, pairs: int = PAIRS) -> None:
        self._port = port
        self.pairs = [Pair(number, broker) for number in range(pairs)]
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        for pair in self.pairs:
            await pair.start(self._port)
        self._tasks = [asyncio.create_task(pair.publish()) for pair in self.pairs]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()
        for pair in self.pairs:
            await pair.close()

    async def p99(self, seconds: float) -> Delay:
        """Return the percentiles of what takes place from now on."""
        for pair in self.pairs:
            pair.times.clear()
        await asyncio.sleep(seconds)
        times = [each for pair in self.pairs for each in pair.times]
        walls, works = zip(*times, strict=True) if times else ([seconds], [seconds])
        at = int(len(walls) * 0.99)
        return Delay(sorted(walls)[at], sorted(works)[at])

    async def find_faults(self) -> list[str]:
        """Publish no more, wait for what is on its way; return what went wrong."""
        await self._stop()
        deadline = time.monotonic() + LATE_S
        while not all(pair.is_complete for pair in self.pairs):  # or late
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.05)  # until true, at most LATE_S
        lost = [
            f"{pair.name}: {pair.sent} sent, {pair.acknowledged} answered, {len(pair.seen)} seen"
            for pair in self.pairs
            if not pair.is_complete
        ]
        return lost + [fault for pair in self.pairs for fault in pair.faults]

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()


async def _dial(port: int, client_id: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(encode_packet(Connect(client_id, MQTT_5), MQTT_5))
    head = await reader.readexactly(2)
    await reader.readexactly(head[1])  # CONNACK
    return reader, writer
