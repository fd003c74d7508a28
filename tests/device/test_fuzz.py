"""Random commands and random bytes for a device with the memory of a small board."""

import asyncio
import random
from pathlib import Path

import pytest

from tests.aio import until
from tests.device import boards
from tests.device.boards import PREFIX, ScriptedBroker, joined_board, settings_for
from tests.device.test_commands_at_a_boards_heap import PROGRAM
from tests.share import part_of

FULL_HEAP = "160K"  # a full outbox takes twice the memory of a 32-bit board's here
NAMES = ["echo", "big", "shout", "count", "nothing", "", "a/b", "ä", "n" * 300]
PIECES = [
    '{"id": 1', ', "x": ', '"', "{", "}", "[", "]", "null", "1e999", "-1", "\\ud800", "\\u0000",
    '"id": ', "nan", ",", "y" * 900, "[" * 200, '{"size": 3000}', '"expires": 1', "\x00", "é" * 90,
]  # fmt: skip


def random_payload(chance: random.Random) -> bytes:
    """Return something that is nearly a command."""
    text = "".join(chance.choice(PIECES) for _ in range(chance.randrange(1, 9)))
    data = bytearray(text.encode("utf-8", "surrogatepass"))
    if chance.random() < 0.2 and data:
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data[:6000])


def publish(chance: random.Random, packet_id: int) -> bytes:
    """Return a PUBLISH of a random command."""
    topic = f"{PREFIX}/commands/{chance.choice(NAMES)}".encode()
    flags = chance.choice((0, 2, 2, 2, 3, 10))
    body = len(topic).to_bytes(2) + topic
    body += (packet_id.to_bytes(2) if flags & 6 else b"") + random_payload(chance)
    head, length = bytearray((0x30 | flags,)), len(body)
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    return bytes(head) + bytes((length,)) + body


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(6))
def test_random_commands_are_all_acknowledged(tmp_path: Path, package: Path, seed: int) -> None:
    async def stage() -> None:
        chance = random.Random(seed)
        async with ScriptedBroker() as broker:
            settings = settings_for(broker.port, timeout_s=10, keepalive_s=30, call_limit_s=1)
            board = joined_board(tmp_path / "board", settings, PROGRAM, package)
            await board.start()
            try:
                await until(lambda: broker.readings(0), "online")
                for number in range(1, part_of(400, least=60) + 1):
                    packet = publish(chance, number)
                    broker.writers[-1].write(packet)
                    if packet[0] & 6:
                        expected = number.to_bytes(2)
                        await until(
                            lambda: any(
                                p.body == expected  # noqa: B023
                                for n in range(len(broker.connections))
                                for p in broker.packets(n, boards.PUBACK)
                            ),
                            f"PUBACK of {packet[:200]!r}",
                        )
                assert board.restarts == 0, board.log_path.read_text()
                assert len(broker.connections) == 1, board.log_path.read_text()
            finally:
                await board.stop()

    asyncio.run(stage())


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(6))
def test_random_bytes_of_a_broker_never_reset_it(tmp_path: Path, package: Path, seed: int) -> None:
    async def stage() -> None:
        chance = random.Random(seed)
        async with ScriptedBroker() as broker:
            settings = settings_for(broker.port)
            board = joined_board(tmp_path / "board", settings, PROGRAM, package, FULL_HEAP)
            await board.start()
            try:
                for _ in range(part_of(60, least=10)):
                    before = len(broker.connections)
                    packets = [publish(chance, chance.randrange(1, 65536)) for _ in range(3)]
                    packets += [chance.randbytes(chance.randrange(1, 40)) for _ in range(3)]
                    packets += [
                        b"\x40\x02\x00\x01",
                        b"\xd0\x00",
                        boards.CONNACK,
                        b"\x90\x03\xff\xff\x01",
                    ]
                    chance.shuffle(packets)
                    data = bytearray(b"".join(packets))
                    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
                    broker.after_suback = bytes(data)
                    if broker.writers:
                        broker.writers[-1].close()
                    await until(lambda: len(broker.connections) > before, "it comes back")  # noqa: B023
                broker.after_suback = b""
                count = len(broker.connections)
                broker.writers[-1].close()
                await until(
                    lambda: any(broker.readings(n) for n in range(count, len(broker.connections))),
                    "readings",
                )
                assert board.restarts == 0, board.log_path.read_text()
            finally:
                await board.stop()

    asyncio.run(stage())
