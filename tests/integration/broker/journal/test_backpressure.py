"""A disk that is slower than the senders: they are held, in turn, and nobody is refused."""

import asyncio
import contextlib
import threading
from collections import Counter
from pathlib import Path

import pytest

from broker import AllowAll, Broker, Listener
from broker.journal import Journal, JournalLimits, RealDisk
from broker.wire import decode_packet, encode_packet
from broker.wire.packets import (
    MQTT_3_1_1,
    MQTT_5,
    ConnAck,
    Connect,
    Packet,
    PubAck,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    Subscription,
)
from broker.wire.property_values import Properties
from tests.programs import PATIENCE

WAIT_S = 20 * PATIENCE
KIB = 1024
SENDERS = 8
LIMITS = JournalLimits(
    segment_bytes=512 * KIB, queued_bytes=1024 * KIB, behind_bytes=256 * KIB, batch_bytes=64 * KIB
)


class GatedDisk(RealDisk):
    """Syncs when it is let, and then so many times."""

    def __init__(self) -> None:
        self.gate = threading.Semaphore(1_000)

    def sync(self, file: int) -> None:
        assert self.gate.acquire(timeout=WAIT_S)
        super().sync(file)

    def close_gate(self) -> None:
        while self.gate.acquire(blocking=False):
            pass


class Peer:
    """A client that answers nothing by itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer, self._buffer = reader, writer, b""
        self.version = MQTT_3_1_1
        self.acknowledged = 0
        self.refused = 0

    @classmethod
    async def connect(cls, broker: Broker, connect: Connect) -> "Peer":
        host, port = broker.addresses[0]  # type: ignore[misc]  # no Unix socket
        peer = cls(*await asyncio.open_connection(host, port))
        peer.version = connect.version
        peer.send(connect)
        answer = await peer.take()
        assert isinstance(answer, ConnAck)
        assert not answer.code
        return peer

    def send(self, *packets: Packet) -> None:
        self._writer.write(b"".join(encode_packet(each, self.version) for each in packets))

    async def take(self) -> Packet | None:
        while not (decoded := decode_packet(self._buffer, self.version)):
            try:
                received = await asyncio.wait_for(self._reader.read(65_536), WAIT_S)
            except ConnectionError:
                return None
            if not received:
                return None
            self._buffer += received
        self._buffer = self._buffer[decoded[1] :]
        return decoded[0]

    async def take_answers(self) -> None:
        """Count them to the end of the connection."""
        while (answer := await self.take()) is not None:
            if isinstance(answer, PubAck | PubRec):
                self.acknowledged += not answer.reason
                self.refused += bool(answer.reason)
            if isinstance(answer, PubRec) and not answer.reason:
                self.send(PubRel(answer.packet_id))

    def close(self) -> None:
        self._writer.transport.abort()


async def until(is_true: object, journal: Journal | None = None) -> int:
    """Wait until it is; return the most bytes that were queued meanwhile."""
    most, deadline = 0, asyncio.get_running_loop().time() + WAIT_S
    while not is_true():  # type: ignore[operator]  # any callable
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.001)
        if journal is not None:
            most = max(most, journal.status().queued_bytes)
    return most


async def make_away(broker: Broker) -> None:
    reader = await Peer.connect(broker, Connect("away", MQTT_3_1_1, clean_start=False))
    reader.send(Subscribe(1, (Subscription("t/#", 1),)))
    assert isinstance(await reader.take(), SubAck)
    reader.close()


def find_longest_wait(topics: list[str]) -> int:
    """Return how many messages of one sender were taken while one of another waited, at most."""
    longest = 0
    for topic in set(topics):
        others: Counter[str] = Counter()
        for each in topics[: len(topics) - topics[::-1].index(topic)]:
            if each == topic:
                others.clear()
            else:
                others[each] += 1
                longest = max(longest, others[each])
    return longest


# case B13
@pytest.mark.parametrize(
    ("version", "qos", "retain", "size", "count"),
    [
        (MQTT_3_1_1, 1, False, 2 * KIB, 300),
        (MQTT_5, 1, False, 100 * KIB, 12),
        (MQTT_5, 2, False, 20 * KIB, 40),
        (MQTT_3_1_1, 1, True, 300 * KIB, 6),
    ],
)
def test_senders_are_held_in_turn(
    tmp_path: Path, version: int, qos: int, retain: bool, size: int, count: int
) -> None:
    async def run() -> None:
        disk = GatedDisk()
        journal = Journal(tmp_path, disk=disk, limits=LIMITS)
        async with (
            Broker([Listener(port=0)], AllowAll(), AllowAll(), store=journal) as broker,
            contextlib.AsyncExitStack() as stack,
        ):
            stack.callback(disk.gate.release, 1_000)  # or else the broker cannot stop
            await make_away(broker)
            senders = [
                await Peer.connect(broker, Connect(f"s{n}", version, properties=Properties()))
                for n in range(SENDERS)
            ]
            other = await Peer.connect(broker, Connect("other", MQTT_3_1_1))
            answers = [asyncio.create_task(each.take_answers()) for each in senders]
            for peer, task in zip((*senders, other), (*answers, None), strict=True):
                if task is not None:
                    stack.push_async_callback(asyncio.wait, [task])
                stack.callback(peer.close)
            handled: list[str] = []  # topics of messages, in the order the broker took them
            witness = broker.local_client("witness")
            witness.subscribe("t/#", lambda message: handled.append(message.topic))
            disk.close_gate()
            for number, sender in enumerate(senders):
                for packet_id in range(1, count + 1):
                    sender.send(
                        Publish(f"t/{number}", bytes(size), qos, retain, packet_id=packet_id)
                    )
            most = await until(lambda: broker.counters.senders_held >= SENDERS, journal)
            assert journal.is_behind
            # a client that stores nothing is served as ever
            other.send(Publish("else", b"x", 1, packet_id=1))
            assert await other.take() == PubAck(1)
            while any(each.acknowledged + each.refused < count for each in senders):
                assert not any(task.done() for task in answers)
                before = sum(each.acknowledged for each in senders)
                disk.gate.release()

                def is_further(before: int = before) -> bool:
                    return sum(each.acknowledged for each in senders) > before or not (
                        journal.status().queued_bytes
                    )

                with_time = asyncio.wait_for(until(is_further, journal), 0.01)
                try:
                    most = max(most, await with_time)
                except TimeoutError:
                    continue
            assert [each.refused for each in senders] == [0] * SENDERS
            assert [each.acknowledged for each in senders] == [count] * SENDERS
            assert most <= LIMITS.queued_bytes
            # A turn takes no more than makes the store fall behind. Between two messages of one
            # sender another one has at most the turn that made it wait, and one before it in line.
            turn = LIMITS.behind_bytes // size + 1
            assert find_longest_wait(handled) <= 2 * turn < count
            assert not broker.counters.refused["not_stored"]

    asyncio.run(run())


# case B13
def test_one_message_larger_than_the_bound_is_taken_when_nothing_waits(tmp_path: Path) -> None:
    async def run() -> None:
        journal = Journal(tmp_path, limits=JournalLimits(queued_bytes=100_000, behind_bytes=50_000))
        async with Broker([Listener(port=0)], AllowAll(), AllowAll(), store=journal) as broker:
            await make_away(broker)
            sender = await Peer.connect(broker, Connect("s", MQTT_5))
            for packet_id in range(1, 4):
                sender.send(Publish("t/1", bytes(300_000), 1, packet_id=packet_id))
            for packet_id in range(1, 4):
                assert await sender.take() == PubAck(packet_id)
            sender.close()

    asyncio.run(run())
