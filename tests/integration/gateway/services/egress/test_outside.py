"""HTTP requests and byte streams to the outside, as far as a manifest declares it."""

import asyncio
import contextlib
import logging
from pathlib import Path

import pytest

from tests.aio import until
from tests.integration.gateway.services.egress.harness import (
    answering,
    ask,
    egress,
    read_answer,
    send_raw,
    target,
)

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nProxy-Status: hecate; error=x\r\n\r\nhi"


def test_a_declared_target_gets_the_request_as_its_own(tmp_path: Path) -> None:
    async def run() -> None:
        heads: list[bytes] = []
        async with target(answering(OK, heads)) as port, egress(tmp_path) as here:
            path = await here.open(f"127.0.0.1:{port}")
            headers = {
                "Host": "evil.example",
                "Proxy-Connection": "keep-alive",
                "Proxy-Authorization": "Basic abc",
                "X-Secret": "1",
                "Connection": "x-secret",
                "Authorization": "Bearer t",
            }
            answer = await ask(path, f"GET http://127.0.0.1:{port}/a?b", headers)
            assert (answer.status, answer.body) == (200, b"hi")
            assert "proxy-status" not in answer.headers  # only the gateway's own answers have it
            line, *lines = heads[0].decode().lower().split("\r\n")
            assert line == "get /a?b http/1.1"
            assert f"host: 127.0.0.1:{port}" in lines
            assert "authorization: bearer t" in lines
            assert not [each for each in lines if "proxy-" in each or "x-secret" in each]
            assert here.sockets.counters()["api-caller"].requests == 1

    asyncio.run(run())


def test_an_undeclared_target_is_refused_and_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    why = (
        "cannot reach api.example.com:443: add it to [network] allow in microservice.toml, "
        "or to MCM.NETWORK_ALLOW"
    )

    async def run() -> None:
        async with egress(tmp_path, {"api.example.com": ["10.0.0.1"]}) as here:
            path = await here.open("other.example.com:443")
            for _ in range(3):
                answer = await ask(path, "CONNECT api.example.com:443")
                assert (answer.status, answer.json["detail"]) == (403, why)
                assert answer.headers["proxy-status"] == "hecate; error=http_request_denied"
            assert (await ask(path, "GET http://other.example.com/")).status == 403
            assert here.names.asked == []  # nothing leaves through the name server
            assert here.sockets.counters()["api-caller"].refused == 4

    caplog.set_level(logging.INFO)
    asyncio.run(run())
    assert [r.getMessage() for r in caplog.records if "443" in r.getMessage()] == [
        f"api-caller: {why}"
    ]


def test_connect_joins_bytes_with_half_closed_directions(tmp_path: Path) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")  # a server that speaks first
        everything = await reader.read()
        writer.write(everything[::-1])
        await writer.drain()

    async def run() -> None:
        async with target(echo) as port, egress(tmp_path, {"db.example": ["127.0.0.1"]}) as here:
            path = await here.open(f"db.example:{port}", f"127.0.0.1:{port}")
            for host in ("127.0.0.1", "db.example"):
                reader, writer = await asyncio.open_unix_connection(path)
                # bytes right behind the head, as TLS clients send them
                writer.write(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: x\r\n\r\nabc".encode())
                assert await reader.readuntil(b"\r\n\r\n") == (
                    b"HTTP/1.1 200 Connection established\r\n\r\n"
                )
                assert await reader.readline() == b"220 ready\r\n"
                big = bytes(range(256)) * 4096
                writer.write(big)
                writer.write_eof()
                assert await reader.read() == (b"abc" + big)[::-1]
                writer.close()
            assert here.sockets.counters()["api-caller"].tunnels == 2

    asyncio.run(run())


def test_a_container_that_reads_nothing_stops_the_target(tmp_path: Path) -> None:
    sent = 0

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while True:
            writer.write(bytes(65536))
            await writer.drain()
            sent += 65536

    async def run() -> None:
        async with target(flood) as port, egress(tmp_path) as here:
            path = await here.open(f"127.0.0.1:{port}")
            reader, writer = await asyncio.open_unix_connection(path, limit=1024)
            writer.write(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await reader.readline()
            last = -1
            while last != sent:  # until it stands still
                last = sent
                await asyncio.sleep(0.1)
            assert 0 < sent < 16 * 1024 * 1024  # buffers of the kernel, mostly
            writer.transport.abort()

    asyncio.run(run())


def test_a_target_that_is_away_is_told_and_its_end_ends_the_tunnel(tmp_path: Path) -> None:
    async def run() -> None:
        async with egress(tmp_path) as here:
            async with target(answering(b"")) as port:
                path = await here.open(f"127.0.0.1:{port}", f"none.example:{port}")
                answer = await ask(path, f"GET http://127.0.0.1:{port}/")
                assert answer.status == 502
                assert answer.headers["proxy-status"] == "hecate; error=http_protocol_error"
            answer = await ask(path, f"GET http://127.0.0.1:{port}/")
            assert (answer.status, answer.json["detail"]) == (
                502, f"cannot reach 127.0.0.1:{port}: connection refused",
            )  # fmt: skip
            answer = await ask(path, f"CONNECT none.example:{port}")
            assert (answer.status, answer.headers["proxy-status"]) == (
                502, "hecate; error=dns_error",
            )  # fmt: skip
            assert "name or service not known" in answer.json["detail"]

    asyncio.run(run())


def test_a_container_that_hangs_up_ends_its_request_at_the_target(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.read()
        ended.set()

    async def run() -> None:
        async with target(slow) as port, egress(tmp_path) as here:
            path = await here.open(f"127.0.0.1:{port}")
            for line in (f"GET http://127.0.0.1:{port}/", f"CONNECT 127.0.0.1:{port}"):
                ended.clear()
                _, writer = await asyncio.open_unix_connection(path)
                writer.write(f"{line} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                if "CONNECT" in line:
                    writer.write(b"x\r\n\r\n")
                await until(lambda: here.sockets.counters()["api-caller"].requests)
                await asyncio.sleep(0.05)
                writer.transport.abort()
                await ended.wait()

    asyncio.run(run())


def test_answers_stream(tmp_path: Path) -> None:
    step = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await step.wait()
        writer.write(b"3\r\ntwo\r\n0\r\nX-Trailer: dropped\r\n\r\n")

    async def run() -> None:
        async with target(slow) as port, egress(tmp_path) as here:
            path = await here.open(f"127.0.0.1:{port}")
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await reader.readuntil(b"one\r\n")
            step.set()
            rest = await reader.readuntil(b"0\r\n\r\n")
            assert b"two" in rest
            assert b"railer" not in rest
            writer.close()

    asyncio.run(run())


def test_a_cut_answer_is_seen_as_cut(tmp_path: Path) -> None:
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"

    async def run() -> None:
        async with target(answering(half)) as port, egress(tmp_path) as here:
            path = await here.open(f"127.0.0.1:{port}")
            request = f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: x\r\n\r\n"
            with contextlib.suppress(ConnectionError):
                answer = read_answer(await send_raw(path, request.encode()))
                assert (answer.headers["content-length"], answer.body) == ("10", b"half")

    asyncio.run(run())
