"""Connections to the processes of containers carry many requests, one after the other."""

import asyncio
from pathlib import Path

import pytest

from tests.integration.gateway.services.proxy.front import front

GET = b"GET /api/probe/v1/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Process:
    """A process that counts its connections and answers each request on them."""

    def __init__(self, answer: bytes = OK) -> None:
        self.connections = self.requests = 0
        self.heads: list[bytes] = []
        self._answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while True:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            self.requests += 1
            writer.write(self._answer)
            await writer.drain()


def test_requests_share_a_connection(tmp_path: Path) -> None:
    async def run() -> None:
        async with front(tmp_path) as here:
            process = Process()
            path, _ = await here.process("one", process.serve)
            here.run(path)
            for _ in range(5):
                assert (await here.ask(GET)).endswith(b"hi")
            assert (process.connections, process.requests) == (1, 5)
            assert all(b"connection" not in head.lower() for head in process.heads)

    asyncio.run(run())


def test_requests_at_once_have_connections_of_their_own(tmp_path: Path) -> None:
    async def run() -> None:
        async with front(tmp_path) as here:
            process = Process()
            path, _ = await here.process("one", process.serve)
            here.run(path)
            for _ in range(3):
                answers = await asyncio.gather(*(here.ask(GET) for _ in range(4)))
                assert all(each.endswith(b"hi") for each in answers)
            assert process.requests == 12
            assert process.connections <= 4

    asyncio.run(run())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
    ],
    ids=["closing", "old", "more than the answer"],
)
def test_a_connection_that_the_process_does_not_keep_is_not_used_again(
    tmp_path: Path, answer: bytes
) -> None:
    async def run() -> None:
        async with front(tmp_path) as here:
            process = Process(answer)
            path, _ = await here.process("one", process.serve)
            here.run(path)
            for _ in range(3):
                assert (await here.ask(GET)).endswith(b"hi")
            assert process.connections == 3

    asyncio.run(run())


def test_an_answer_before_the_end_of_its_request_ends_the_connection(tmp_path: Path) -> None:
    head = b"POST /api/probe/v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n123"

    async def run() -> None:
        async with front(tmp_path) as here:
            process = Process()
            path, _ = await here.process("one", process.serve)
            here.run(path)
            reader, writer = await asyncio.open_unix_connection(here.path)
            writer.write(head)
            assert (await reader.readuntil(b"hi")).startswith(b"HTTP/1.1 200")
            writer.close()
            assert (await here.ask(GET)).endswith(b"hi")
            assert process.connections == 2
            assert len(process.heads) == 2

    asyncio.run(run())


# case S19
def test_a_replaced_process_gets_no_further_request(tmp_path: Path) -> None:
    async def run() -> None:
        async with front(tmp_path) as here:
            old, new = Process(), Process()
            first, _ = await here.process("old", old.serve)
            second, _ = await here.process("new", new.serve)
            here.run(first)
            await here.ask(GET)
            here.run(second)
            await here.ask(GET)
            assert (old.requests, new.requests) == (1, 1)

    asyncio.run(run())


def test_a_connection_that_the_process_has_closed_costs_no_request(tmp_path: Path) -> None:
    async def run() -> None:
        async with front(tmp_path) as here:
            process = Process()
            path, _ = await here.process("one", process.serve)
            here.run(path)
            await here.ask(GET)
            for task in tuple(here.tasks):  # its connections close
                task.cancel()
            await asyncio.gather(*here.tasks, return_exceptions=True)
            await asyncio.sleep(0)
            assert (await here.ask(GET)).endswith(b"hi")
            assert process.connections == 2

    asyncio.run(run())
