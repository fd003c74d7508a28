"""Visitors speak HTTP through relay and node with a real HTTP server."""

import asyncio
import hashlib
from contextlib import suppress
from pathlib import Path

import psutil

from tests.aio import until
from tests.integration.cloud.relay.bep_peers import (
    MIB,
    connect,
    content,
    curl,
    digest_of,
    http_client,
    running_peers,
    stands_still,
)

TIB = 1 << 40


def test_httpx_and_curl_reach_the_server(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_peers(tmp_path) as it, http_client() as client:
            bep = await it.open()
            answer = await client.get(f"{bep.url}/hello")
            assert (answer.status_code, answer.text) == (200, "GET hello")
            assert await curl(f"{bep.url}/hello") == (0, b"GET hello")
            assert it.seen == [f"/{bep.bep_id}/hello"] * 2

    asyncio.run(scenario())


def test_100_mb_go_up_and_down_byte_exact(tmp_path: Path) -> None:
    digest = digest_of(100 * MIB)
    upload = tmp_path / "upload"
    upload.write_bytes(b"".join(content(100 * MIB)))
    download = tmp_path / "download"

    async def scenario() -> None:
        async with running_peers(tmp_path) as it, http_client() as client:
            bep = await it.open()
            answer = await client.post(f"{bep.url}/sum", content=upload.read_bytes())
            assert answer.text == digest
            answer = await client.get(f"{bep.url}/big/{100 * MIB}")
            assert hashlib.sha256(answer.content).hexdigest() == digest
            assert await curl("-T", str(upload), f"{bep.url}/sum") == (0, digest.encode())
            assert await curl("-o", str(download), f"{bep.url}/big/{100 * MIB}") == (0, b"")
            await client.aclose()
            await until(lambda: it.bep(bep.bep_id).visitors == 0)
            (served,) = it.host.beps()
            relayed = it.bep(bep.bep_id)
            assert relayed.bytes == served.bytes_total > 400 * MIB

    asyncio.run(scenario())
    assert hashlib.sha256(download.read_bytes()).hexdigest() == digest


def test_20_visitors_at_once_are_all_served(tmp_path: Path) -> None:
    digest = digest_of(2 * MIB)

    async def scenario() -> None:
        async with running_peers(tmp_path) as it:
            bep = await it.open()

            async def visit() -> str:
                async with http_client() as client:
                    answer = await client.get(f"{bep.url}/big/{2 * MIB}")
                    return hashlib.sha256(answer.content).hexdigest()

            assert await asyncio.gather(*[visit() for _ in range(20)]) == [digest] * 20
            await until(lambda: it.bep(bep.bep_id).visitors == 0)
            assert it.bep(bep.bep_id).visitors_total == 20
            await until(lambda: it.bep(bep.bep_id).ready >= 2)

    asyncio.run(scenario())


def test_one_connection_carries_many_requests(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_peers(tmp_path) as it, http_client() as client:
            bep = await it.open()
            for number in range(10):
                assert (await client.get(f"{bep.url}/r{number}")).text == f"GET r{number}"
            assert it.bep(bep.bep_id).visitors_total == 1

    asyncio.run(scenario())


def test_an_answer_that_comes_before_the_request_is_read_arrives(tmp_path: Path) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(bytes(50 * MIB))

    async def scenario() -> None:
        async with running_peers(tmp_path) as it:
            bep = await it.open()
            for _ in range(5):
                code, output = await curl(
                    "-H", "Expect:", "-w", "%{http_code}", "-T", str(upload), f"{bep.url}/early"
                )
                assert output == b"too large413", code
            await until(lambda: it.bep(bep.bep_id).visitors == 0)

    asyncio.run(scenario())


def test_a_visitor_who_reads_slowly_does_not_grow_memory(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_peers(tmp_path) as it:
            bep = await it.open()
            request = f"GET /{bep.bep_id}/big/{1000 * MIB} HTTP/1.1\r\nhost: x\r\n\r\n".encode()
            before = rss()
            visitors = [await connect(it.address) for _ in range(5)]
            for _, writer in visitors:
                writer.write(request)
            assert await stands_still(lambda: it.bep(bep.bep_id).bytes) < 5 * 20 * MIB
            assert rss() - before < 30 * MIB
            for _, writer in visitors:
                writer.transport.abort()
            await until(lambda: it.bep(bep.bep_id).visitors == 0)

    asyncio.run(scenario())


def test_a_server_that_reads_slowly_does_not_grow_memory(tmp_path: Path) -> None:
    async def flood(writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while True:
                writer.write(bytes(65536))
                await writer.drain()

    async def scenario() -> None:
        async with running_peers(tmp_path) as it:
            bep = await it.open()
            head = (
                f"POST /{bep.bep_id}/stall HTTP/1.1\r\nhost: x\r\ncontent-length: {1 << 40}\r\n\r\n"
            )
            before = rss()
            visitors = [await connect(it.address) for _ in range(5)]
            for _, writer in visitors:
                writer.write(head.encode())
            floods = [asyncio.create_task(flood(writer)) for _, writer in visitors]
            assert await stands_still(lambda: it.bep(bep.bep_id).bytes) < 5 * 20 * MIB
            assert rss() - before < 30 * MIB
            for _, writer in visitors:
                writer.transport.abort()
            await asyncio.gather(*floods)
            it.released.set()
            await until(lambda: it.bep(bep.bep_id).visitors == 0)

    asyncio.run(scenario())


def rss() -> int:
    return int(psutil.Process().memory_info().rss)
