"""Sockets of the gateway without containers behind them: what a hostile process could send."""

import asyncio
import contextlib
import ipaddress
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.services.egress.dialer import is_own_address
from gateway.services.egress.ports import EgressTargets, RemoteNodes
from gateway.services.egress.resolver import NameResolver
from gateway.services.egress.sockets import GatewaySockets
from gateway.services.egress.targets import OwnNames
from gateway.services.network.addresses import IpAddress
from gateway.services.network.rules import NetworkRule, NetworkSettings
from gateway.services.routes import ContainerRoute
from web.asgi import Receive, Scope, Send

NODE_ID = "0" * 56
API_PORT = 18083
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Names(NameResolver):
    """Knows the addresses of some names, and counts what it is asked."""

    def __init__(self, known: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.known = known
        self.asked: list[str] = []

    async def resolve(self, name: str) -> list[IpAddress]:
        self.asked.append(name)
        if name not in self.known:
            raise OSError("Name or service not known")
        return [ipaddress.ip_address(each) for each in self.known[name]]


async def show_request(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with what the sidecar would see."""
    body, more = b"", True
    while more:
        event = await receive()
        body, more = body + event.get("body", b""), event.get("more_body", False)
    shown = {
        "path": scope["path"],
        "query": scope["query_string"].decode(),
        "origin": scope["hecate.origin"],
        "caller": scope["hecate.caller"],
        "headers": [[n.decode(), v.decode()] for n, v in scope["headers"]],
        "body": body.decode(),
    }
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(shown).encode()})


@dataclass
class Answer:
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Egress:
    """The sockets of one gateway."""

    def __init__(self, folder: Path, names: Names, nodes: RemoteNodes | None) -> None:
        self.names = names
        self.sockets = GatewaySockets(folder, 4, self._find_service, lambda: names)
        self.sockets.lead_to(
            EgressTargets(
                api=show_request,
                own=OwnNames(
                    lambda: frozenset({"me"}), lambda: frozenset({API_PORT}), is_own_address
                ),
                node_id=NODE_ID,
                closed_ports=lambda: frozenset({API_PORT, 1883}),
                nodes=nodes,
            )
        )

    def _find_service(self, service_type: str) -> ContainerRoute | None:
        known = {"api-probe": ContainerRoute("api-probe", "/api/probe/v1", "node", bep=False)}
        return known.get(service_type)

    async def open(self, *allow: str, container_id: str = "api-caller") -> str:
        rules = tuple(NetworkRule.parse(rule) for rule in allow)
        return str(await self.sockets.open(container_id, NetworkSettings(rules)))


@contextlib.asynccontextmanager
async def egress(
    folder: Path,
    names: Mapping[str, Sequence[str]] | None = None,
    nodes: RemoteNodes | None = None,
) -> AsyncIterator[Egress]:
    made = Egress(folder, Names(names or {}), nodes)
    try:
        yield made
    finally:
        await made.sockets.stop()


async def send_raw(path: str, data: bytes) -> bytes:
    """Return all that comes back until the gateway closes."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(data)
    with contextlib.suppress(ConnectionError):
        answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    return answer


async def ask(path: str, line: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Return the answer to a request without body."""
    lines = [
        f"{line} HTTP/1.1",
        *(f"{n}: {v}" for n, v in (headers or {"Host": "localhost"}).items()),
    ]
    lines += ["Connection: close", "", ""]
    return read_answer(await send_raw(path, "\r\n".join(lines).encode()))


def read_answer(raw: bytes) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines)}
    if headers.get("transfer-encoding") == "chunked":
        body = b"".join(body.split(b"\r\n")[1::2])
    return Answer(int(status.split()[1]) if status else 0, headers, body)


@contextlib.asynccontextmanager
async def target(serve: Serve) -> AsyncIterator[int]:
    """Run a TCP server on loopback; yield its port."""
    serving: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


def answering(answer: bytes, heads: list[bytes] | None = None) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if heads is not None:
            heads.append(head)
        writer.write(answer)
        await writer.drain()

    return serve
