import asyncio
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.aio import until
from tests.certificates import make_authority
from tests.integration.web.http_peers import LIMITS, Served, serving

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

HEAD = b"POST / HTTP/1.1\r\nhost: a\r\n"
GREETINGS = {
    "silent": b"",
    "half a head": HEAD,
    "half a body": HEAD + b"content-length: 900\r\n\r\nx",
}


def burst(port: int, count: int, greeting: bytes) -> list[socket.socket]:
    """Connect so many times before the server has its first turn."""
    peers = []
    for _ in range(count):
        peer = socket.create_connection(("127.0.0.1", port))
        peer.sendall(greeting)
        peers.append(peer)
    return peers


HIDDEN = b"GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "body"),
    [(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
      b"0\r\n\r\n" + HIDDEN),
     (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n",
      b"0\r\n\r\n" + HIDDEN),
     (b"POST / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n"
      b"transfer-encoding: chunked\r\n\r\n", b"0\r\n\r\n" + HIDDEN)],
)  # fmt: skip
def test_a_request_that_may_hide_another_is_refused_and_ends_the_connection(
    head: bytes, body: bytes
) -> None:
    async def scenario() -> None:
        async with serving() as served:
            answer = await served.ask(head + body)
            assert answer.count(b"HTTP/1.1 ") == 1, answer
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert b"connection: close" in answer.lower()
            assert b"cannot read request: " in answer

    asyncio.run(scenario())


# case G5, case CL1
@pytest.mark.parametrize("greeting", GREETINGS.values(), ids=GREETINGS)
def test_a_burst_that_holds_connections_leaves_others_served(greeting: bytes) -> None:
    async def scenario() -> None:
        async with serving() as served:
            peers = burst(served.port, 60, greeting)
            for _ in range(3):
                assert (await served.ask()).startswith(b"HTTP/1.1 200 ")
            table = served.server.bounds.table
            assert len(table) <= LIMITS.connections
            assert table.counters.refused == 0
            for peer in peers:
                peer.close()

    asyncio.run(scenario())


# case G5
@pytest.mark.parametrize(
    ("greeting", "answer"),
    [(b"", b""), (HEAD, b"HTTP/1.1 408 "),
     (HEAD + b"content-length: 9\r\n\r\nx", b"HTTP/1.1 408 "),
     (HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n", b"HTTP/1.1 408 ")],
)  # fmt: skip
def test_a_client_that_stops_sending_is_answered_and_cut(greeting: bytes, answer: bytes) -> None:
    async def scenario() -> None:
        async with serving() as served:
            reader, writer = await served.open()
            writer.write(greeting)
            async with asyncio.timeout(10):
                told = await reader.read()
            assert told[: len(answer)] == answer
            assert bool(told) == bool(answer)
            await until(lambda: not len(served.server.bounds.table))
            writer.close()

    asyncio.run(scenario())


# case G5
@pytest.mark.parametrize("greeting", [HEAD, HEAD + b"content-length: 9000\r\n\r\n"])
def test_trickling_bytes_win_no_time(greeting: bytes) -> None:
    async def scenario() -> None:
        async with serving() as served:
            reader, writer = await served.open()
            writer.write(greeting)
            answer = asyncio.create_task(reader.read())
            async with asyncio.timeout(10):
                while not answer.done():
                    writer.write(b"x")
                    await asyncio.sleep(0.02)
            with suppress(ConnectionResetError):  # a byte crossed the answer
                assert answer.result().startswith(b"HTTP/1.1 408 ")
            assert sum(served.server.bounds.timeouts.values()) == 1
            writer.close()

    asyncio.run(scenario())


def test_a_slow_upload_that_progresses_is_served() -> None:
    async def scenario() -> None:
        async with serving() as served:
            reader, writer = await served.open()
            writer.write(HEAD + b"connection: close\r\ncontent-length: 20480\r\n\r\n")
            for _ in range(20):  # 1 s altogether, three times the limit
                writer.write(b"x" * 1024)
                await asyncio.sleep(0.05)
            assert (await reader.read()).endswith(b"\r\n\r\n20480")
            writer.close()

    asyncio.run(scenario())


def test_a_caller_that_does_not_read_its_answer_is_cut() -> None:
    async def scenario() -> None:
        async with serving() as served:
            reader, writer = await served.open()
            writer.write(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n")
            await until(lambda: served.server.bounds.timeouts["answer"] == 1)
            await until(lambda: not len(served.server.bounds.table))
            writer.close()
            del reader

    asyncio.run(scenario())


def test_between_requests_there_is_time_and_no_more() -> None:
    async def scenario() -> None:
        async with serving() as served:
            reader, writer = await served.open()
            for _ in range(2):
                writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
                assert (await reader.readuntil(b"\r\n\r\n0")).startswith(b"HTTP/1.1 200 ")
                await asyncio.sleep(0.5)  # more than a head may take
            async with asyncio.timeout(10):
                assert await reader.read() == b""
            writer.close()

    asyncio.run(scenario())


# case G5
def test_tls_connections_that_never_shake_hands_count_and_go(tmp_path: Path) -> None:
    files = make_authority(tmp_path)

    async def scenario() -> None:
        async with serving(files.server_context(), files.client_context()) as served:
            peers = burst(served.port, 60, b"")
            peers += burst(served.port, 20, b"\x16\x03\x01")
            for _ in range(3):
                assert (await served.ask()).startswith(b"HTTP/1.1 200 ")
            assert len(served.server.bounds.table) <= LIMITS.connections
            await until(lambda: not len(served.server.bounds.table))
            for peer in peers:
                peer.close()

    asyncio.run(scenario())


def test_large_bodies_pass_tls_both_ways(tmp_path: Path) -> None:
    files = make_authority(tmp_path)

    async def scenario() -> None:
        async with serving(files.server_context(), files.client_context()) as served:
            head = HEAD + b"connection: close\r\ncontent-length: 3000000\r\n\r\n"
            assert (await served.ask(head + b"x" * 3_000_000)).endswith(b"\r\n\r\n3000000")
            large = b"GET /large HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
            assert len(await served.ask(large)) > 30_000_000

    asyncio.run(scenario())


async def _plain_answer(served: Served) -> bytes:
    reader, writer = await served.open(plain=True)
    writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer


def test_plain_http_gets_nothing_from_a_tls_listener(tmp_path: Path) -> None:
    files = make_authority(tmp_path)
    ask: Callable[[Served], Awaitable[bytes]] = _plain_answer

    async def scenario() -> None:
        async with serving(files.server_context(), files.client_context()) as served:
            assert b"HTTP/1.1" not in await ask(served)
            assert (await served.ask()).startswith(b"HTTP/1.1 200 ")

    asyncio.run(scenario())
