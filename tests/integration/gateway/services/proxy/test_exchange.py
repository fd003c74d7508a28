"""Requests and answers on their way through the proxy, against processes that a test plays."""

import asyncio
import logging
from pathlib import Path

import pytest

from gateway.http.inprocess import call
from protocol.http_body import HttpRequest
from tests.aio import until
from tests.integration.gateway.services.proxy.front import ROUTE, front
from web.asgi import Receive, Scope, Send

GET = b"GET /api/probe/v1/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


async def answer_ok(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(OK)
    await writer.drain()


# case S19
def test_a_request_goes_to_the_new_process_when_the_old_one_no_longer_listens(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async with front(tmp_path) as here:
            old, server = await here.process("old", answer_ok)
            server.close()
            await server.wait_closed()
            new, _ = await here.process("new", answer_ok)
            here.run(old)
            assert (await here.ask(GET)).startswith(b"HTTP/1.1 502")  # it is the one that runs

            processes = iter([old, new])

            class Switching:
                @property
                def http_socket(self) -> Path:
                    path = next(processes, new)
                    here.supervisor.process = Switching()  # the switch comes in between
                    return path

            here.supervisor.process = Switching()
            assert (await here.ask(GET)).startswith(b"HTTP/1.1 200")

    asyncio.run(run())


# case S19
def test_a_request_that_was_sent_is_never_sent_again(tmp_path: Path) -> None:
    got: list[str] = []

    async def run() -> None:
        async with front(tmp_path) as here:

            async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await reader.readuntil(b"\r\n\r\n")
                got.append("old")
                here.run(new)  # it is replaced meanwhile
                writer.transport.abort()

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                got.append("new")
                await answer_ok(reader, writer)

            old, _ = await here.process("old", die)
            new, _ = await here.process("new", serve)
            here.run(old)
            assert (await here.ask(GET)).startswith(b"HTTP/1.1 502")
            assert got == ["old"]
            assert (await here.ask(GET)).startswith(b"HTTP/1.1 200")

    asyncio.run(run())


@pytest.mark.parametrize(
    "half",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ],
)
def test_the_death_of_a_process_within_its_answer_is_a_cut(tmp_path: Path, half: bytes) -> None:
    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(half)
        await writer.drain()

    async def run() -> None:
        async with front(tmp_path) as here:
            here.run((await here.process("p", die))[0])
            answer = await here.ask(GET)
            assert b"half" in answer
            assert not answer.endswith(b"0\r\n\r\n")
            assert b"content-length: 4\r\n" not in answer

    asyncio.run(run())


def test_expect_and_trailers_and_answers_without_body(tmp_path: Path) -> None:
    heads: list[bytes] = []
    answers = [
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n"
        b"2\r\nhi\r\n0\r\nX-T: 1\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
    ]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        if b"content-length: 4" in heads[-1]:
            assert await reader.readexactly(4) == b"body"
        writer.write(answers.pop(0))
        await writer.drain()

    async def run() -> None:
        async with front(tmp_path) as here:
            here.run((await here.process("p", serve))[0])
            reader, writer = await asyncio.open_unix_connection(here.path)
            writer.write(
                b"POST /api/probe/v1/x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                b"Content-Length: 4\r\nConnection: close\r\n\r\n"
            )
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
            writer.write(b"body")
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
            writer.close()
            assert b"expect" not in heads[0]
            trailed = await here.ask(GET)
            assert trailed.endswith(b"2\r\nhi\r\n0\r\n\r\n")
            assert b"railer" not in trailed
            assert (await here.ask(GET)).startswith(b"HTTP/1.1 204")
            assert b"etag: x" in await here.ask(GET)
            head = await here.ask(GET.replace(b"GET", b"HEAD"))
            assert b"content-length: 1000\r\n" in head
            assert head.endswith(b"\r\n\r\n")

    asyncio.run(run())


def test_both_directions_stream_and_a_client_that_hangs_up_ends_the_request(
    tmp_path: Path,
) -> None:
    ended = asyncio.Event()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                size = int(await reader.readuntil(b"\r\n"), 16)
                writer.write(b"%x\r\n%b" % (size, await reader.readexactly(size + 2)))
                await writer.drain()
        finally:
            ended.set()

    async def run() -> None:
        async with front(tmp_path) as here:
            here.run((await here.process("p", echo))[0])
            reader, writer = await asyncio.open_unix_connection(here.path)
            writer.write(
                b"POST /api/probe/v1/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            for piece in (b"one", b"two"):  # each is answered before the next is sent
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                assert (await reader.readuntil(piece)).endswith(piece)
            writer.transport.abort()
            await ended.wait()
            await until(lambda: not here.proxy.open_requests())

    asyncio.run(run())


def test_requests_carry_a_trace_and_are_logged_with_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)
        await writer.drain()

    async def run() -> None:
        async with front(tmp_path) as here:
            here.run((await here.process("p", serve))[0])
            await here.ask(GET)
            await here.ask(GET.replace(b"Host", b"X-Request-Id: abc-1\r\nHost"))

    caplog.set_level(logging.DEBUG, "gateway.services.proxy.containers")
    asyncio.run(run())
    assert b"\r\ntraceparent: 00-" in heads[0]
    assert b"\r\nx-request-id: abc-1\r\n" in heads[1]
    logged = [record.getMessage() for record in caplog.records]
    assert len(logged) == 2
    assert logged[1].startswith("GET /api/probe/v1/x: 200 in ")
    assert "request abc-1, trace 00-" in logged[1]


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", "/api/probe/v1/a b"), ("GET /x", "/api/probe/v1/"), ("GET", "/api/probe/v1/\r\nX: 1")],
)
def test_a_request_line_in_an_envelope_that_is_none_is_refused(
    tmp_path: Path, method: str, target: str
) -> None:
    async def run() -> None:
        async with front(tmp_path) as here:
            process, _ = await here.process("one", answer_ok)
            here.run(process)

            async def app(scope: Scope, receive: Receive, send: Send) -> None:
                await here.proxy.serve(ROUTE, scope, receive, send)

            answer = await call(app, HttpRequest(method, target), "sep", 10_000, 10)
            assert answer.status == 400
            assert b"cannot carry the request" in answer.body

    asyncio.run(run())
