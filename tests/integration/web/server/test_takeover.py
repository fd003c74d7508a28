"""Connections that an application takes over, on a real server, plain and with TLS."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.aio import until
from tests.certificates import make_authority
from tests.integration.web.http_peers import LIMITS
from web import HttpServer, listen_tcp
from web.server.takeover import take_over_of

UPGRADE = b"GET /up HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
CONNECT = b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
PLAIN = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


async def echo(scope: Any, _receive: Any, send: Any) -> None:
    """Echo the bytes of a connection on /up and CONNECT; answer other requests."""
    take_over = take_over_of(scope)
    if take_over is None or scope["path"] == "/no":
        body = b"http" if take_over is None else b"upgrade ignored"
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return
    connection = take_over(SWITCH)
    if scope["path"] == "/flood":
        with contextlib.suppress(ConnectionError):
            while True:
                await connection.write(bytes(65536))
        return
    while data := await connection.read():
        await connection.write(data)
    connection.end()


@contextlib.asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[HttpServer, int]]:
    server = HttpServer(echo, replace(LIMITS, connections_per_address=16), tls)
    listener = listen_tcp("127.0.0.1", 0)
    task = asyncio.create_task(server.run_on(listener))
    await server.listening.wait()
    try:
        yield server, listener.getsockname()[1]
    finally:
        server.stop()
        await task


@pytest.mark.parametrize("head", [UPGRADE, CONNECT])
@pytest.mark.parametrize("is_secure", [False, True])
def test_bytes_pass_from_the_first_behind_the_head(
    tmp_path: Path, head: bytes, is_secure: bool
) -> None:
    files = make_authority(tmp_path / "ca")

    async def run() -> None:
        async with serving(files.server_context() if is_secure else None) as (server, port):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=files.client_context() if is_secure else None
            )
            writer.write(head + b"early ")
            assert await reader.readexactly(len(SWITCH)) == SWITCH
            big = bytes(range(256)) * 2000
            writer.write(b"late " + big)
            assert await reader.readexactly(11 + len(big)) == b"early late " + big
            if not is_secure:
                writer.write_eof()
                assert await reader.read() == b""
            writer.close()
            await until(lambda: len(server.bounds.table) == 0)

    asyncio.run(run())


def test_an_upgrade_that_is_ignored_is_a_request(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with serving() as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(UPGRADE.replace(b"/up", b"/no") + PLAIN)
            answers = await reader.read()
            assert answers.index(b"upgrade ignored") < answers.index(b"\r\n\r\nhttp")
            assert answers.count(b"HTTP/1.1 200") == 2
            writer.close()

    asyncio.run(run())
    logged = [record.getMessage() for record in caplog.records]
    assert not [each for each in logged if "pgrade" in each]  # uvicorn would warn at each


def test_a_taken_connection_has_no_deadline_but_is_bounded() -> None:
    async def run() -> None:
        async with serving() as (server, port):
            streams = []
            for _ in range(LIMITS.connections - LIMITS.reserved):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(CONNECT)
                await reader.readexactly(len(SWITCH))
                streams.append((reader, writer))
            for connection in server.bounds.table.all():
                connection.tick(asyncio.get_running_loop().time() + 1e6)
            for reader, writer in streams:
                writer.write(b"still")
                assert await reader.readexactly(5) == b"still"
            held = len(server.bounds.table)
            assert held == LIMITS.connections - LIMITS.reserved
            for _, writer in streams:
                writer.transport.abort()
            await until(lambda: len(server.bounds.table) == 0)

    asyncio.run(run())


def test_a_peer_that_reads_nothing_is_cut() -> None:
    async def run() -> None:
        async with serving() as (server, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            writer.write(UPGRADE.replace(b"/up", b"/flood"))
            await until(lambda: server.bounds.timeouts["answer"] == 1)
            writer.transport.abort()

    asyncio.run(run())


def test_a_server_that_stops_ends_taken_connections() -> None:
    async def run() -> None:
        async with serving() as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(CONNECT)
            await reader.readexactly(len(SWITCH))
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()

    asyncio.run(run())
