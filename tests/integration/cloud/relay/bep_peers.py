"""Starts a relay and a node that serves an HTTP server through it, for visitors."""

import asyncio
import hashlib
import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from joserfc.jwk import ECKey, KeySet

from cloud.relay import Relay, RelayedBep, RelayLimits
from gateway.cloud_api.values import BepGrant
from gateway.tunnel import TunnelHost, TunnelLimits
from gateway.tunnel.dial import Dial, dial_tcp
from protocol.ids import new_bep_id
from protocol.preface import Preface, PrefaceRole, encode_preface
from protocol.tokens import sign_token
from settings.secret import Secret
from tests.aio import until
from tests.certificates import Files
from tests.programs import PATIENCE

KEY = ECKey.generate_key("P-256", auto_kid=True)
NODE = "ab" * 28
MIB = 1 << 20
BLOCK = random.Random(1).randbytes(MIB)


def keys() -> KeySet:
    return KeySet([ECKey.import_key(KEY.as_dict(private=False))])


def token(bep_id: str, ttl_s: float = 60, key: ECKey = KEY, **claims: Any) -> Secret:
    stated = {"aud": "relay", "sub": NODE, "bep": bep_id, **claims}
    return Secret(sign_token(stated, key, time.time(), ttl_s))


def content(size: int) -> Iterator[bytes]:
    """Yield MiB blocks that differ from each other."""
    return (number.to_bytes(4, "big") + BLOCK[4:] for number in range(size // MIB))


def digest_of(size: int) -> str:
    digest = hashlib.sha256()
    for block in content(size):
        digest.update(block)
    return digest.hexdigest()


async def stands_still(value: Callable[[], int], limit_s: float = 20) -> int:
    """Return a value that has not changed for a while."""
    async with asyncio.timeout(limit_s * PATIENCE):
        last = -1
        while last != value():
            last = value()
            await asyncio.sleep(0.3)
    return last


@dataclass
class BepPeers:
    relay: Relay
    host: TunnelHost
    address: tuple[str, int]
    files: Files | None = None  # for a relay with TLS
    seen: list[str] = field(default_factory=list)  # paths that reached the server
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def open(self, ttl_s: float = 60, bep_id: str = "") -> BepGrant:
        bep_id = bep_id or new_bep_id()
        grant = self.grant(bep_id, token(bep_id, ttl_s), ttl_s)
        await self.host.open(grant, "test")
        await until(lambda: self.bep(bep_id).ready >= 2)
        return grant

    def grant(self, bep_id: str, secret: Secret, ttl_s: float = 60) -> BepGrant:
        scheme = "http" if self.files is None else "https"
        url = f"{scheme}://{self.address[0]}:{self.address[1]}/{bep_id}"
        expires_at = time.time() + ttl_s
        return BepGrant(bep_id, url, *self.address, secret, expires_at, tls=self.files is not None)

    def bep(self, bep_id: str) -> RelayedBep:
        return next(bep for bep in self.relay.beps() if bep.id == bep_id)

    async def serve(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """An ASGI application; the path after the BEP id says what to do."""
        _, _bep_id, verb, *rest = scope["path"].split("/")
        self.seen.append(scope["path"])
        if verb == "sum":
            await _sum(receive, send)
        elif verb == "big":
            await _big(int(rest[0]), send)
        elif verb == "early":
            await _answer(send, 413, b"too large", (b"connection", b"close"))
        elif verb == "forever":
            await _forever(receive, send)
        elif verb == "stall":
            await self.released.wait()
        else:
            await _answer(send, 200, f"{scope['method']} {verb}".encode())


async def _answer(send: Any, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


async def _sum(receive: Any, send: Any) -> None:
    digest = hashlib.sha256()
    more = True
    while more:
        message = await receive()
        digest.update(message.get("body", b""))
        more = message.get("more_body", False)
    await _answer(send, 200, digest.hexdigest().encode())


async def _big(size: int, send: Any) -> None:
    length = (b"content-length", str(size).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    for block in content(size):
        await send({"type": "http.response.body", "body": block, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _forever(receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    gone = asyncio.create_task(_disconnect(receive))
    while not gone.done():
        await send({"type": "http.response.body", "body": b"tick\n", "more_body": True})
        await asyncio.wait([gone], timeout=0.02)


async def _disconnect(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@asynccontextmanager
async def running_peers(
    directory: Path,
    relay_limits: RelayLimits | None = None,
    tunnel_limits: TunnelLimits | None = None,
    target: Path | None = None,
    dial: Dial = dial_tcp,
    files: Files | None = None,
) -> AsyncIterator[BepPeers]:
    """Run all of it; target replaces the HTTP server, files make the relay speak TLS."""
    path = directory / "http"
    relay = Relay(keys, relay_limits, tls=files.server_context() if files else None)
    host = TunnelHost(target or path, tunnel_limits, dial=dial)
    if files is not None:
        host = TunnelHost(target or path, tunnel_limits, trust=files.client_context)
    address = await relay.start("127.0.0.1", 0)
    made = BepPeers(relay, host, address, files)
    try:
        async with _http_server(path, made.serve):
            try:
                yield made
            finally:
                await host.stop()
    finally:
        await relay.stop()


@asynccontextmanager
async def _http_server(path: Path, application: Any) -> AsyncIterator[None]:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    config = uvicorn.Config(
        application,
        interface="asgi3",
        lifespan="off",
        log_config=None,
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await until(lambda: server.started)
        yield
    finally:
        server.should_exit = True
        await task
        listener.close()


async def connect(address: tuple[str, int]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*address)


async def introduce(
    address: tuple[str, int], role: PrefaceRole, secret: Secret
) -> tuple[int | None, asyncio.StreamReader, asyncio.StreamWriter]:
    """Return the relay's answer to a preface, None when it closed instead."""
    reader, writer = await connect(address)
    writer.write(encode_preface(Preface(role, secret.reveal())))
    answer = await reader.read(1)
    return (answer[0] if answer else None), reader, writer


async def leave(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


def http_client() -> httpx.AsyncClient:
    return httpx.AsyncClient(trust_env=False, timeout=30 * PATIENCE)


async def curl(*arguments: str) -> tuple[int, bytes]:
    """Return exit code and output."""
    process = await asyncio.create_subprocess_exec(
        "curl", "-sS", "--noproxy", "*", "--max-time", "30", *arguments,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode or 0, output
