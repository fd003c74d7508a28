"""Connections that the embedding program makes and hands over."""

import asyncio
import socket
from dataclasses import dataclass, field

from broker import AllowAll, Broker, Credentials, Identity, Limits, Refusal
from tests.aio import until
from tests.chunk_peer import packet, text

CONNECT = packet(0x10, text("MQTT") + b"\x04\x02\x00\x3c" + text("board"))


@dataclass
class Watching(AllowAll):
    """Admits everybody and remembers what was told about them."""

    asked: list[Credentials] = field(default_factory=list)

    async def authenticate(self, credentials: Credentials) -> Identity | Refusal:
        self.asked.append(credentials)
        return await super().authenticate(credentials)


def make_broker(access: Watching, **limits: int) -> Broker:
    return Broker((), access, access, Limits(**limits), sys_interval_s=0)


async def connect(
    broker: Broker, name: str = "links"
) -> tuple[bool, asyncio.StreamReader, asyncio.StreamWriter]:
    ours, theirs = socket.socketpair()
    is_taken = await broker.adopt(theirs, name, "serial:/dev/ttyUSB0", "dev-1")
    return is_taken, *await asyncio.open_connection(sock=ours)


def test_an_adopted_connection_is_one_like_any_other() -> None:
    async def work() -> None:
        access = Watching()
        async with make_broker(access) as broker:
            is_taken, reader, writer = await connect(broker)
            assert is_taken
            writer.write(CONNECT)
            assert await reader.readexactly(4) == b"\x20\x02\x00\x00"
            (asked,) = access.asked
            assert (asked.listener, asked.peer) == ("links", "serial:/dev/ttyUSB0")
            assert asked.proved == "dev-1"
            assert broker.is_connected("board")
            assert broker.counters.connections == 1
            assert broker.cut("board") == 1
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
            await until(lambda: broker.counters.connections == 0)

    asyncio.run(work())


def test_limits_count_adopted_connections() -> None:
    async def work() -> None:
        async with make_broker(Watching(), connections=2) as broker:
            taken = [await connect(broker) for _ in range(4)]
            assert [is_taken for is_taken, _, _ in taken] == [True, True, False, False]
            assert broker.counters.refused["connections"] == 2
            assert [await reader.read() for _, reader, _ in taken[2:]] == [b"", b""]
            for _, _, writer in taken:
                writer.close()
                await writer.wait_closed()
            await writer.wait_closed()

    asyncio.run(work())


def test_a_silent_one_is_closed_in_time() -> None:
    async def work() -> None:
        access = Watching()
        broker = Broker((), access, access, Limits(connect_timeout_s=0.1), sys_interval_s=0)
        async with broker:
            _, reader, writer = await connect(broker)
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    asyncio.run(work())


def test_a_broker_that_does_not_run_takes_none() -> None:
    async def work() -> None:
        broker = make_broker(Watching())
        is_taken, reader, writer = await connect(broker)
        assert not is_taken
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        async with broker:
            _, reader, writer = await connect(broker)
            writer.write(CONNECT)
            await reader.readexactly(4)
        assert await reader.read() == b""  # it was closed by stop()
        writer.close()
        await writer.wait_closed()
        is_taken, _, writer = await connect(broker)
        assert not is_taken
        writer.close()
        await writer.wait_closed()

    asyncio.run(work())
