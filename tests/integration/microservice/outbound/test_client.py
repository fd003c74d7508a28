"""The HTTP client of containers, against peers that speak raw bytes on a Unix socket."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from microservice.errors import OutboundError, OutboundRefusedError, OutboundTimeoutError
from microservice.outbound import OutboundClient, OutboundHeaders
from microservice.outbound import client as client_module
from tests.certificates import make_authority

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def gateway(folder: Path, peer: Peer) -> AsyncIterator[OutboundClient]:
    """Run a peer on a socket; its errors fail the test."""
    errors: list[BaseException] = []
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            await peer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except BaseException as exc:
            errors.append(exc)
            raise
        finally:
            writer.close()

    server = await asyncio.start_unix_server(serve, folder / "gw.sock")
    async with server:
        yield OutboundClient(str(folder / "gw.sock"))
        await asyncio.gather(*serving)
    assert not errors


def answering(answer: bytes, heads: list[bytes] | None = None) -> Peer:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if heads is not None:
            heads.append(head)
        writer.write(answer)
        await writer.drain()

    return peer


async def get(client: OutboundClient, url: str = "http://a.example/", **options: float) -> bytes:
    async with client.request("GET", url, **options) as response:  # type: ignore[arg-type]  # timeouts only
        return await response.read()


def test_a_request_line_is_in_absolute_form_and_headers_pass(tmp_path: Path) -> None:
    async def run() -> None:
        heads: list[bytes] = []
        many = b"HTTP/1.1 207 X\r\nSet-Cookie: a\r\nset-cookie: b\r\ncontent-length: 0\r\n\r\n"
        async with gateway(tmp_path, answering(many, heads)) as client:
            headers: OutboundHeaders = {"TraceParent": "00-1", "Connection": "upgrade"}
            async with client.request("put", "http://a.example/x?y", headers=headers) as response:
                assert response.status == 207
                assert response.headers["set-cookie"] == "a, b"
                assert response.raw_headers[:2] == (("set-cookie", "a"), ("set-cookie", "b"))
        line, *lines = heads[0].decode().lower().split("\r\n")
        assert line == "put http://a.example/x?y http/1.1"
        assert {"host: a.example", "traceparent: 00-1", "content-length: 0"} <= set(lines)
        assert "connection: upgrade" not in lines

    asyncio.run(run())


def test_bodies_stream_both_ways_at_once(tmp_path: Path) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while (size := int(await reader.readline(), 16)) > 0:
            piece = await reader.readexactly(size + 2)
            writer.write(b"%x\r\n" % size + piece)
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def run() -> None:
        sent: asyncio.Queue[bytes] = asyncio.Queue()

        async def body() -> AsyncIterator[bytes]:
            while piece := await sent.get():
                yield piece

        async with (
            gateway(tmp_path, echo) as client,
            client.request("POST", "http://a.example/", body=body()) as response,
        ):
            chunks = aiter(response)
            for piece in (b"one", b"two"):  # each is answered before the next is sent
                await sent.put(piece)
                assert await anext(chunks) == piece
            await sent.put(b"")
            assert [chunk async for chunk in chunks] == []

    asyncio.run(run())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"",
        b"HTTP/1.1 200",
        b"SSH-2.0-x\r\n\r\n",
    ],
)
def test_a_cut_answer_is_no_answer(tmp_path: Path, answer: bytes) -> None:
    async def run() -> None:
        async with gateway(tmp_path, answering(answer)) as client:
            with pytest.raises(OutboundError, match=r"^cannot (reach|read answer of) a.example:80"):
                await get(client)

    asyncio.run(run())


def test_a_silent_target_and_an_endless_answer_are_bounded(tmp_path: Path) -> None:
    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(bytes(4096))
            await writer.drain()

    async def run() -> None:
        async with gateway(tmp_path, silent) as client:
            with pytest.raises(OutboundTimeoutError, match=r"nothing arrived in 0.05 s"):
                await get(client, read_timeout=0.05)
            with pytest.raises(OutboundTimeoutError, match=r"no connection in 0.05 s"):
                await get(client, "https://a.example/", connect_timeout=0.05)
        async with gateway(tmp_path, endless) as client:
            with pytest.raises(OutboundError, match="more than 1048576 bytes"):
                await get(client)

    asyncio.run(run())


def test_a_refusal_of_the_gateway_is_an_error_and_one_of_the_target_an_answer(
    tmp_path: Path,
) -> None:
    detail = b'{"detail": "cannot reach a.example:443: add it"}'
    head = b"HTTP/1.1 403 Forbidden\r\ncontent-length: %d\r\n" % len(detail)
    by_gateway = head + b"proxy-status: hecate; error=http_request_denied\r\n\r\n" + detail

    async def run() -> None:
        async with gateway(tmp_path, answering(by_gateway)) as client:
            for url in ("http://a.example/", "https://a.example/"):
                with pytest.raises(OutboundRefusedError, match="add it") as caught:
                    await get(client, url)
                assert caught.value.status == 403
        async with gateway(tmp_path, answering(head + b"\r\n" + detail)) as client:
            assert await get(client) == detail

    asyncio.run(run())


def test_an_error_of_the_bodys_source_ends_the_request(tmp_path: Path) -> None:
    cut = asyncio.Event()

    async def peer(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        try:
            assert not (await reader.read()).endswith(b"0\r\n\r\n")
        finally:
            cut.set()

    async def body() -> AsyncIterator[bytes]:
        yield b"part"
        raise LookupError("no more")

    async def run() -> None:
        async with gateway(tmp_path, peer) as client:
            with pytest.raises(LookupError, match="no more"):
                async with client.request("POST", "http://a.example/", body=body()):
                    pass
            await cut.wait()

    asyncio.run(run())


def test_headers_that_are_none_do_not_leave(tmp_path: Path) -> None:
    async def run() -> None:
        heads: list[bytes] = []
        async with gateway(tmp_path, answering(OK, heads)) as client:
            for headers in ({"a": "b\r\nc: d"}, {"a\r\nb": "c"}, {"a": "€"}, {"": "a"}):
                with pytest.raises(OutboundError, match=r"^cannot request a.example:80"):
                    async with client.request("GET", "http://a.example/", headers=headers):
                        pass
            with pytest.raises(OutboundError, match=r"^cannot request"):
                async with client.request("GET / HTTP/1.1\r\n", "http://a.example/"):
                    pass
        assert heads == []

    asyncio.run(run())


def test_more_requests_than_places_wait_and_a_process_without_gateway_is_told(
    tmp_path: Path,
) -> None:
    open_now, most = 0, 0

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now, most
        open_now, most = open_now + 1, max(most, open_now + 1)
        await reader.readuntil(b"\r\n\r\n")
        open_now -= 1
        writer.write(OK)
        await writer.drain()

    async def run() -> None:
        async with gateway(tmp_path, peer) as client:
            answers = await asyncio.gather(*(get(client, connect_timeout=60) for _ in range(200)))
            assert answers == [b"hi"] * 200
        with pytest.raises(OutboundError, match="this process has no gateway"):
            await get(OutboundClient(""))

    asyncio.run(run())
    assert most <= client_module.REQUESTS_AT_ONCE


def test_https_is_encrypted_up_to_the_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = make_authority(tmp_path / "ca")
    seen = bytearray()

    async def run(is_trusted: bool) -> None:
        async def target(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert (await reader.readline()) == b"GET /x HTTP/1.1\r\n"
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(target, "127.0.0.1", 0, ssl=files.server_context())
        port = server.sockets[0].getsockname()[1]

        async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(4096):
                    seen.extend(data)
                    writer.write(data)
                    await writer.drain()
            writer.close()

        async def joiner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert await reader.readline() == b"CONNECT localhost:%d HTTP/1.1\r\n" % port
            await reader.readuntil(b"\r\n\r\n")
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))

        async with server, gateway(tmp_path, joiner) as client:
            if is_trusted:
                assert await get(client, f"https://localhost:{port}/x") == b"hi"
            else:
                with pytest.raises(OutboundError, match="unable to get local issuer certificate"):
                    await get(client, f"https://localhost:{port}/x")

    monkeypatch.setenv("SSL_CERT_FILE", str(files.ca))
    client_module._tls_context.cache_clear()
    asyncio.run(run(is_trusted=True))
    assert b"GET /x" not in seen
    monkeypatch.setenv("SSL_CERT_FILE", str(files.key))
    client_module._tls_context.cache_clear()
    asyncio.run(run(is_trusted=False))
    client_module._tls_context.cache_clear()


def test_a_short_body_leaves_with_its_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the end of an early answer can reach the client before it has sent the body."""
    written: list[bytes] = []
    write = asyncio.StreamWriter.write

    def record(writer: asyncio.StreamWriter, data: bytes) -> None:
        written.append(data)
        write(writer, data)

    async def run() -> None:
        async with (
            gateway(tmp_path, answering(OK)) as client,
            client.request("POST", "http://a.example/", body=b"x" * 1000) as answer,
        ):
            assert await answer.read() == b"hi"

    monkeypatch.setattr(asyncio.StreamWriter, "write", record)
    asyncio.run(run())
    assert written[0].startswith(b"POST ")
    assert written[0].endswith(b"x" * 1000)
