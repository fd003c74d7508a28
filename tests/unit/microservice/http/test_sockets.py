"""WebSockets of a service, over the server and socket of production and an independent client."""

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from microservice import HangupError, HttpError, Service, WebSocket
from microservice.control import Launch
from microservice.info import Info
from microservice.lifecycle import ServiceLifecycle


@contextlib.asynccontextmanager
async def served(service: Service, folder: Path) -> AsyncIterator[Path]:
    """Serve a service as its process does; yield the path of its socket."""
    path = folder / "http.sock"
    with contextlib.chdir(folder):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        launch = Launch("", listener.detach(), Info("api-x"), stop_s=2)
        lifecycle = ServiceLifecycle(service, launch, lambda _: None)
    await lifecycle.prepare()
    try:
        yield path
    finally:
        await lifecycle._stop()


def check(service: Service, folder: Path, work: Callable[[Path], Awaitable[None]]) -> None:
    async def run() -> None:
        async with served(service, folder) as path, asyncio.timeout(60):
            await work(path)

    asyncio.run(run())


async def exchange(client: ClientConnection, message: bytes) -> object:
    await client.send(message)
    return await client.recv()


def connect(
    path: Path, resource: str, **options: object
) -> "contextlib.AbstractAsyncContextManager[ClientConnection]":
    return unix_connect(str(path), uri=f"ws://service{resource}", **options)


def test_messages_go_both_ways_in_their_types(tmp_path: Path) -> None:
    service = Service()

    @service.websocket("/rooms/{room}/live")
    async def live(ws: WebSocket) -> None:
        await ws.send({"room": ws["room"], "query": dict(ws.query), "agent": ws.headers["x-me"]})
        async for message in ws:
            await ws.send(message)

    async def work(path: Path) -> None:
        more = {"X-Me": "test"}
        async with connect(path, "/rooms/at%2Ftic/live?a=1", additional_headers=more) as client:
            assert json.loads(await client.recv()) == {
                "room": "at/tic", "query": {"a": "1"}, "agent": "test",
            }  # fmt: skip
            for message in ("text é", b"\x00\xff", ""):
                await client.send(message)
                assert await client.recv() == message

    check(service, tmp_path, work)


def test_a_handler_refuses_a_client_by_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service()

    @service.websocket("/{how}")
    async def end(ws: WebSocket) -> None:
        raise HttpError(403, "no such room") if ws["how"] == "refuse" else ValueError("a bug")

    async def work(path: Path) -> None:
        for resource, status in (("/refuse", 403), ("/break", 500), ("/no/such", 404)):
            with pytest.raises(InvalidStatus) as refused:
                async with connect(path, resource):
                    pass
            assert refused.value.response.status_code == status

    with caplog.at_level(logging.ERROR):
        check(service, tmp_path, work)
    assert caplog.text.count("ValueError: a bug") == 1


@pytest.mark.parametrize(
    ("how", "code", "reason"),
    [
        ("return", 1000, ""),
        ("close", 4001, "enough"),
        ("json", 1007, "not JSON"),
        ("fail", 1011, "cannot answer: the handler fai"),
        ("late", 1011, "too late"),
    ],
)
def test_a_handler_that_ends_closes_its_socket(
    tmp_path: Path, how: str, code: int, reason: str
) -> None:
    service = Service()

    @service.websocket("/")
    async def end(ws: WebSocket) -> None:
        await ws.accept()
        match how:
            case "close":
                await ws.close(4001, "enough")
            case "json":
                await ws.json()
            case "fail":
                raise ValueError("a bug")
            case "late":
                raise HttpError(403, "too late")

    async def work(path: Path) -> None:
        async with connect(path, "/") as client:
            if how == "json":
                await client.send("no json")
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (code, reason)

    check(service, tmp_path, work)


def test_a_handler_ends_when_its_client_is_gone(tmp_path: Path) -> None:
    service, ended = Service(), list[str]()

    @service.websocket("/reads")
    async def reads(ws: WebSocket) -> None:
        try:
            await ws.receive()
        except HangupError:
            ended.append("reads")

    @service.websocket("/sends")
    async def sends(ws: WebSocket) -> None:
        try:
            while True:
                await ws.send(bytes(1000))
        finally:
            ended.append("sends")

    async def work(path: Path) -> None:
        for resource in ("/reads", "/sends"):
            async with connect(path, resource) as client:
                client.transport.abort()
        while len(ended) < 2:  # noqa: ASYNC110  # the handlers have no event for the test
            await asyncio.sleep(0.01)

    check(service, tmp_path, work)
    assert sorted(ended) == ["reads", "sends"]


def test_a_client_that_reads_nothing_holds_its_handler_back(tmp_path: Path) -> None:
    service, sent = Service(), list[int]()

    @service.websocket("/flood")
    async def flood(ws: WebSocket) -> None:
        for number in range(1000):
            await ws.send(bytes(100_000))
            sent.append(number)

    async def work(path: Path) -> None:
        async with connect(path, "/flood", max_size=None, max_queue=1) as client:
            await client.recv()
            before = -1
            while before != len(sent):
                before = len(sent)
                await asyncio.sleep(0.2)
            client.transport.abort()
            assert len(sent) < 100, "the service holds what its client does not read"

    check(service, tmp_path, work)


def test_a_message_beyond_the_limit_closes_the_socket(tmp_path: Path) -> None:
    service = Service()

    @service.websocket("/echo")
    async def echo(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(str(len(message)))

    async def work(path: Path) -> None:
        async with connect(path, "/echo", max_size=None) as client:
            await client.send(bytes(1024 * 1024))
            assert await client.recv() == str(1024 * 1024)
            with pytest.raises(ConnectionClosed) as closed:
                await exchange(client, bytes(1024 * 1024 + 1))
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1009

    check(service, tmp_path, work)
