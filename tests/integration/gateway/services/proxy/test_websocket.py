"""WebSockets to containers, with an independent client and server on both sides."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.asyncio.server import ServerConnection, unix_serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.aio import until
from tests.integration.gateway.services.proxy.front import front

OWN, COMPATIBLE = "ws://node/api/probe/v1/events?x=1", "ws://node/ws/api/probe/v1/events?x=1"


@contextlib.asynccontextmanager
async def websockets(
    handler: Callable[[ServerConnection], Awaitable[None]], path: Path, **options: Any
) -> AsyncIterator[None]:
    """Run a container's process that serves WebSockets."""
    server = await unix_serve(handler, str(path), **options)
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()


async def echo(connection: ServerConnection) -> None:
    request = connection.request
    assert request is not None
    await connection.send(f"{request.path} {request.headers['x-forwarded-prefix']}")
    async for message in connection:
        await connection.send(message)


@pytest.mark.parametrize(
    ("uri", "prefix"), [(OWN, "/api/probe/v1"), (COMPATIBLE, "/ws/api/probe/v1")]
)
def test_messages_pass_both_ways(tmp_path: Path, uri: str, prefix: str) -> None:
    async def run() -> None:
        path = tmp_path / "p.sock"
        async with front(tmp_path) as here, websockets(echo, path):
            here.run(path)
            async with unix_connect(str(here.path), uri) as client:
                assert await client.recv() == f"/events?x=1 {prefix}"
                for message in ("text", bytes(300_000), ""):
                    await client.send(message)
                    assert await client.recv() == message
                await client.ping()
                await client.close(4001, "enough")
            assert (client.close_code, client.close_reason) == (4001, "enough")
            await until(lambda: not here.proxy._websockets)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("runtime", "env", "works"),
    [
        ("python", {}, True),
        ("js", {}, False),
        ("js", {"MCM.WEBSOCKET_SUPPORT": "false"}, False),
        ("js", {"MCM.WEBSOCKET_SUPPORT": "true"}, True),
    ],
)
def test_the_compatible_path_is_for_images_that_ask_for_it(
    tmp_path: Path, runtime: str, env: dict[str, str], works: bool
) -> None:
    async def run() -> None:
        path = tmp_path / "p.sock"
        async with front(tmp_path, runtime, env) as here, websockets(echo, path):
            here.run(path)
            if works:
                async with unix_connect(str(here.path), COMPATIBLE) as client:
                    assert await client.recv()
            else:
                with pytest.raises(InvalidStatus, match="404"):
                    async with unix_connect(str(here.path), COMPATIBLE):
                        pass

    asyncio.run(run())


def test_a_refused_upgrade_is_an_answer(tmp_path: Path) -> None:
    async def refuse(connection: ServerConnection, _: object) -> object:
        return connection.respond(403, "no\n")

    async def run() -> None:
        path = tmp_path / "p.sock"
        async with (
            front(tmp_path) as here,
            websockets(echo, path, process_request=refuse),
        ):
            here.run(path)
            with pytest.raises(InvalidStatus, match="403"):
                async with unix_connect(str(here.path), OWN):
                    pass
            here.supervisor.process = None
            with pytest.raises(InvalidStatus, match="503"):
                async with unix_connect(str(here.path), OWN):
                    pass

    asyncio.run(run())


def test_open_websockets_are_bounded_and_take_no_places_of_requests(tmp_path: Path) -> None:
    async def run() -> None:
        path = tmp_path / "p.sock"
        async with (
            front(tmp_path, websockets=3, requests=1) as here,
            websockets(echo, path),
        ):
            here.run(path)
            held: list[ClientConnection] = []
            for _ in range(3):
                held.append(await unix_connect(str(here.path), OWN))
            with pytest.raises(InvalidStatus, match="503"):
                await unix_connect(str(here.path), OWN)
            assert here.proxy.open_requests() == {}
            for client in held:
                await client.close()
            await until(lambda: not here.proxy._websockets)

    asyncio.run(run())


def test_a_silent_websocket_ends_and_pings_keep_it(tmp_path: Path) -> None:
    async def run() -> None:
        path = tmp_path / "p.sock"
        async with (
            front(tmp_path, websocket_idle_s=0.3) as here,
            websockets(echo, path, ping_interval=None),
        ):
            here.run(path)
            async with unix_connect(str(here.path), OWN, ping_interval=0.05) as client:
                await client.recv()
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(client.recv(), 1)
            async with unix_connect(str(here.path), OWN, ping_interval=None) as client:
                await client.recv()
                with pytest.raises(ConnectionClosed):
                    await client.recv()

    asyncio.run(run())


def test_the_end_of_a_process_and_of_a_client_end_the_other_side(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def watch(connection: ServerConnection) -> None:
        try:
            await connection.send("ready")
            await connection.wait_closed()
        finally:
            ended.set()

    async def run() -> None:
        path = tmp_path / "p.sock"
        async with front(tmp_path) as here:
            server = await unix_serve(watch, str(path))
            here.run(path)
            client = await unix_connect(str(here.path), OWN)
            await client.recv()
            client.transport.abort()
            await ended.wait()
            client = await unix_connect(str(here.path), OWN)
            await client.recv()
            for connection in server.connections:
                connection.transport.abort()
            with pytest.raises(ConnectionClosed):
                await client.recv()
            server.close()
            await server.wait_closed()

    asyncio.run(run())


def test_a_client_that_reads_nothing_stops_the_process(tmp_path: Path) -> None:
    sent = 0

    async def flood(connection: ServerConnection) -> None:
        nonlocal sent
        while True:
            await connection.send(bytes(65536))
            sent += 65536

    async def run() -> None:
        path = tmp_path / "p.sock"
        async with front(tmp_path) as here, websockets(flood, path):
            here.run(path)
            reader, writer = await asyncio.open_unix_connection(here.path, limit=1024)
            writer.write(
                b"GET /api/probe/v1/x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
                b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            assert b" 101 " in await reader.readline()
            last = -1
            while last != sent:  # until it stands still
                last = sent
                await asyncio.sleep(0.1)
            assert 0 < sent < 16 * 1024 * 1024
            writer.transport.abort()

    asyncio.run(run())
