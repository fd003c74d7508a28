"""A container that tries to be somebody else, or to reach what it must not."""

import asyncio
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from gateway.services.egress.resolver import LOOKUPS, NameResolver
from tests.aio import until
from tests.integration.gateway.services.egress.harness import (
    API_PORT,
    answering,
    ask,
    egress,
    read_answer,
    send_raw,
    target,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
INSIDE = {
    "loop.example": ["127.0.0.1"],
    "meta.example": ["169.254.169.254"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "six.example": ["::1"],
    "nat.example": ["64:ff9b::7f00:1"],
    "zero.example": ["0.0.0.0"],
}


@pytest.mark.parametrize("host", INSIDE)
def test_names_do_not_lead_inside(tmp_path: Path, host: str) -> None:
    async def run() -> None:
        async with target(answering(OK)) as port, egress(tmp_path, INSIDE) as here:
            path = await here.open(f"{host}:*", "*:*", "0.0.0.0/0:*", "[::/0]:*")
            for line in (f"GET http://{host}:{port}/", f"CONNECT {host}:{port}"):
                answer = await ask(path, line)
                assert answer.status == 403
                assert "the name leads to" in answer.json["detail"]

    asyncio.run(run())


# a hung name server holds threads, but only the caller's own
def test_lookups_that_hang_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    real = socket.getaddrinfo

    def hang(name: str, *args: Any, **more: Any) -> Any:
        if name == "slow.example":
            answer.wait(60)
        return real("127.0.0.1", *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", hang)

    async def run() -> None:
        greedy, other = NameResolver(), NameResolver()
        hanging = [asyncio.create_task(greedy.resolve("slow.example")) for _ in range(LOOKUPS)]
        await asyncio.sleep(0)
        for task in hanging:
            task.cancel()  # nobody waits any more, and the threads are still there
        await asyncio.gather(*hanging, return_exceptions=True)
        for _ in range(100):
            with pytest.raises(OSError, match="too many"):
                await greedy.resolve("slow.example")
        assert await other.resolve("quick.example")
        answer.set()
        await until(lambda: greedy._free.acquire(blocking=False))
        greedy._free.release()
        assert await greedy.resolve("quick.example")

    asyncio.run(run())


@pytest.mark.parametrize(
    "host",
    ["127.1", "0177.0.0.1", "0x7f000001", "2130706433", "0x7f.0.0.1", "127.0.0.1.", "[::1%25lo]",
     "127%2e0.0.1", "a.example@127.0.0.1", "127.0.0.1#a.example", "a.example\\@127.0.0.1"],
)  # fmt: skip
def test_other_spellings_of_addresses_are_refused(tmp_path: Path, host: str) -> None:
    async def run() -> None:
        async with target(answering(OK)) as port, egress(tmp_path) as here:
            path = await here.open("*:*", f"127.0.0.1:{port}")
            for line in (f"GET http://{host}:{port}/", f"CONNECT {host}:{port}"):
                answer = await ask(path, line)
                assert answer.status == 400, answer
                assert here.names.asked == []

    asyncio.run(run())


def test_an_undeclared_address_is_refused_in_every_form(tmp_path: Path) -> None:
    async def run() -> None:
        async with target(answering(OK)) as port, egress(tmp_path) as here:
            path = await here.open("10.0.0.0/8:*", "0.0.0.0/0:*", "*:*")
            for host in (
                "127.0.0.1",
                "[::ffff:127.0.0.1]",
                "[::1]",
                "169.254.169.254",
                "localhost",
            ):
                for line in (f"GET http://{host}:{port}/", f"CONNECT {host}:{port}"):
                    assert (await ask(path, line)).status == 403

    asyncio.run(run())


def test_the_gateways_own_ports_are_never_dialled(tmp_path: Path) -> None:
    async def run() -> None:
        names = {"rebound.example": ["127.0.0.1"]}
        async with egress(tmp_path, names) as here:
            path = await here.open(
                "127.0.0.1:1883", f"127.0.0.1:{API_PORT}", "rebound.example:*", "127.0.0.0/8:*"
            )
            for place in ("127.0.0.1:1883", "rebound.example:1883", f"rebound.example:{API_PORT}"):
                answer = await ask(path, f"CONNECT {place}")
                assert answer.status == 403
                assert "the gateway itself" in answer.json["detail"]

    asyncio.run(run())


def test_connect_to_the_api_is_still_this_container(tmp_path: Path) -> None:
    async def run() -> None:
        async with egress(tmp_path) as here:
            path = await here.open()
            for place in ("localhost:8083", f"127.0.0.1:{API_PORT}", "[::1]:8083"):
                reader, writer = await asyncio.open_unix_connection(path)
                writer.write(f"CONNECT {place} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
                writer.write(b"GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                writer.write_eof()
                seen = read_answer(await reader.read()).json
                assert (seen["origin"], seen["caller"]) == ("container", "api-caller")
                writer.close()
            # as clients of WebSockets go through proxies
            reader, writer = await asyncio.open_unix_connection(path)
            place = "api-probe.service.hecate:80"
            writer.write(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
            writer.write(f"GET /x HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\n\r\n".encode())
            seen = read_answer(await reader.read()).json
            assert (seen["path"], seen["caller"]) == ("/api/probe/v1/x", "api-caller")
            writer.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    "request_bytes",
    [
        # two lengths, and a length beside chunked (RFC 9112, 6.3)
        b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /a HTTP/1.1\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n" + b"\x00",
        b"GET  /a  HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /a\r\nb HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_malformed_requests_are_refused(tmp_path: Path, request_bytes: bytes) -> None:
    async def run() -> None:
        async with egress(tmp_path) as here:
            reader, writer = await asyncio.open_unix_connection(await here.open())
            writer.write(request_bytes)
            writer.write_eof()
            answer = await asyncio.wait_for(reader.read(), 30)
            assert not answer or b" 400 " in answer.partition(b"\r\n")[0], answer
            writer.close()

    asyncio.run(run())


def test_a_body_smuggles_no_request(tmp_path: Path) -> None:
    inner = b"GET http://localhost/admin HTTP/1.1\r\nHost: x\r\n\r\n"

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await writer.drain()
        got.append(await reader.read())

    got: list[bytes] = []

    async def run() -> None:
        async with target(count) as port, egress(tmp_path) as here:
            path = await here.open(f"127.0.0.1:{port}")
            head = (
                f"POST http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: x\r\n"
                "Transfer-Encoding: chunked\r\nConnection: close\r\n"
            ).encode()
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(inner), inner)
            refused = await send_raw(path, head + b"Content-Length: 4\r\n\r\n" + body)
            assert refused.startswith(b"HTTP/1.1 400 ")
            assert refused.count(b"HTTP/1.1 ") == 1
            assert got == []
            assert (await send_raw(path, head + b"\r\n" + body)).count(b"HTTP/1.1 ") == 1
            await until(lambda: got)
            # the target reads one chunked body
            assert inner in got[0]
            assert got[0].endswith(b"0\r\n\r\n")

    asyncio.run(run())


def test_a_thousand_connections_of_one_container_leave_the_others_alone(tmp_path: Path) -> None:
    async def run() -> None:
        async with egress(tmp_path) as here:
            greedy, other = await here.open(), await here.open(container_id="api-other")
            held = []
            for number in range(1000):
                reader, writer = await asyncio.open_unix_connection(greedy)
                # silent, half a head, half a body
                writer.write((b"", b"GET /x", b"POST /x HTTP/1.1\r\nHost: x\r\n"
                              b"Content-Length: 9\r\n\r\nx")[number % 3])  # fmt: skip
                held.append((reader, writer))
            assert (await ask(other, "GET /x")).json["caller"] == "api-other"
            assert (await ask(greedy, "GET /x")).json["caller"] == "api-caller"
            assert len(here.sockets._server.bounds.table) <= 64 + 2
            for _, writer in held:
                writer.transport.abort()

    asyncio.run(run())


def test_tunnels_of_one_container_are_bounded_too(tmp_path: Path) -> None:
    async def hold(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async def run() -> None:
        async with target(hold) as port, egress(tmp_path) as here:
            greedy, other = await here.open(f"127.0.0.1:{port}"), await here.open()
            held, statuses = [], []
            for _ in range(70):
                reader, writer = await asyncio.open_unix_connection(greedy)
                writer.write(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                statuses.append((await reader.readuntil(b"\r\n\r\n")).split()[1])
                held.append(writer)
            assert statuses == [b"200"] * 64 + [b"503"] * 6
            assert (await ask(other, "GET /x")).status == 200
            for writer in held:
                writer.transport.abort()
            await until(lambda: len(here.sockets._server.bounds.table) == 0)
            assert (await ask(greedy, "GET /x")).status == 200

    asyncio.run(run())
