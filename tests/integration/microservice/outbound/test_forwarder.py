"""The local ports of a container, in front of a gateway that a test plays."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from microservice.outbound.forwarder import LocalForwarder

HEAD = "GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n"


@contextlib.asynccontextmanager
async def forwarder(folder: Path, heads: list[bytes]) -> AsyncIterator[LocalForwarder]:
    """Run a forwarder; its gateway answers CONNECT for one target, and everything with 200."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            if heads[-1].startswith(b"CONNECT 10.0.0.5:502 "):
                writer.write(b"HTTP/1.1 200 OK\r\n\r\nhello ")
                writer.write((await reader.read())[::-1])
            elif heads[-1].startswith(b"CONNECT"):
                writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            else:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
            await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(serve, folder / "gw.sock")
    made = LocalForwarder(str(folder / "gw.sock"))
    async with server:
        yield made
        await made.close()


async def exchange(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


def authorization(text: str) -> str:
    return f"Proxy-Authorization: Basic {base64.b64encode(text.encode()).decode()}\r\n"


def test_a_proxy_serves_callers_with_the_password(tmp_path: Path) -> None:
    heads: list[bytes] = []

    async def run() -> None:
        async with forwarder(tmp_path, heads) as made:
            url = urlsplit(await made.open_proxy())
            assert url.port
            wrong = ("", authorization("x:y"), authorization(f"{url.username}:"),
                     f"X: {authorization(f'{url.username}:{url.password}')}")  # fmt: skip
            for header in wrong:
                answer = await exchange(url.port, f"{HEAD}{header}\r\n".encode())
                assert answer.startswith(b"HTTP/1.1 407 "), header
            assert await exchange(url.port, b"GET / HTTP/1.1\r\n") == b""  # no whole head
            assert heads == []
            header = authorization(f"{url.username}:{url.password}")
            answer = await exchange(url.port, f"{HEAD}{header}\r\n".encode())
            assert answer.endswith(b"hi")
            assert heads[0].startswith(b"GET http://a.example/ ")

    asyncio.run(run())


def test_a_forward_leads_to_its_target_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with forwarder(tmp_path, []) as made:
            host, port = await made.open_forward("10.0.0.5:502")
            assert host == "127.0.0.1"
            # the target speaks first; then a direction that has ended leaves the other open
            assert await exchange(port, b"abc") == b"hello cba"
            _, closed = await made.open_forward("10.0.0.6:502")
            assert await exchange(closed, b"abc") == b""

    asyncio.run(run())
    assert "cannot reach 10.0.0.6:502" in caplog.text
