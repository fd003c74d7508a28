"""Streams to the cloud through the holder of the SEP: real TLS, real sockets, one process."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.cluster.links.admission import PeerAdmission, SecretAdmission
from gateway.cluster.links.link import dial
from gateway.cluster.links.server import PeerServer
from gateway.cluster.ways import budget
from gateway.cluster.ways.client import WayClient
from gateway.cluster.ways.relay import RelayPorts, WayRelay, read_head
from gateway.cluster.ways.request import (
    WAY,
    WayRequest,
    decode_answer,
    encode_answer,
    encode_request,
)
from gateway.errors import ClusterError
from gateway.tunnel.dial import dial_tcp
from protocol.keys import new_node_key
from protocol.node_tls import NodeTlsContext
from settings.secret import Secret
from tests.aio import until

BULK = bytes(range(256)) * 40_000  # 10 MB


def secret_of(node_id: str, secret: str = "blue") -> PeerAdmission:
    return SecretAdmission(node_id, [Secret(secret)])


@dataclass
class World:
    """A holder of the SEP, a member, and a cloud that repeats what it gets."""

    holder: NodeTlsContext
    address: str
    relay: WayRelay
    member: NodeTlsContext
    cloud: str
    way: WayClient
    door: Path
    refused: list[str]
    holds: list[bool]

    async def ask(self, target: str, secret: str = "blue") -> tuple[str, socket.socket]:
        """Return why there is no way, and the connection."""
        sock, _, _ = await dial([self.address], self.holder.node_id, self.member, WAY)
        proof = secret_of(self.member.node_id, secret).prove(self.holder.node_id)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, encode_request(WayRequest(target, proof)))
        return decode_answer(await read_head(sock)), sock


@contextlib.asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    async def repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    cloud = await asyncio.start_server(repeat, "127.0.0.1", 0)
    target = f"127.0.0.1:{cloud.sockets[0].getsockname()[1]}"
    holder, member = (NodeTlsContext(new_node_key(), [WAY]) for _ in range(2))
    refused: list[str] = []
    holds = [True]
    ports = RelayPorts(lambda: holds[0], dial_tcp, lambda _id, _at, why: refused.append(why))
    relay = WayRelay({target}, secret_of(holder.node_id), ports)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    door = folder / "door.sock"
    way = WayClient(
        member,
        secret_of(member.node_id),
        lambda: (holder.node_id, (address,)) if holds[0] else ("", ()),
        {door: target},
    )
    tasks = [
        asyncio.create_task(PeerServer(holder, {WAY: relay.serve}).run([listener])),
        asyncio.create_task(way.run()),
    ]
    await until(door.exists)
    try:
        yield World(holder, address, relay, member, target, way, door, refused, holds)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        relay.close()
        listener.close()
        cloud.close()


def test_bytes_go_to_the_cloud_and_back_and_the_end_as_well(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as w:
            reader, writer = await asyncio.open_unix_connection(w.door)
            answer = asyncio.create_task(reader.read(-1))
            writer.write(BULK)
            await writer.drain()
            writer.write_eof()
            assert await answer == BULK
            writer.close()
            await until(lambda: w.relay.counts()["open"] == 0)
            counts = w.relay.counts()
            assert (counts["opened"], counts["refused"]) == (1, 0)
            assert counts["bytes"] == 2 * len(BULK) + len(encode_answer(200))

    asyncio.run(run())


def test_the_holder_opens_nothing_but_its_cloud_and_only_for_members(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as w:
            other = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
            elsewhere = f"127.0.0.1:{other.sockets[0].getsockname()[1]}"
            for target in (elsewhere, "localhost:22", "[::1]:1", w.cloud + "0", "x"):
                why, sock = await w.ask(target)
                assert "is not the cloud of this node" in why
                sock.close()
            why, sock = await w.ask(w.cloud, secret="red")
            assert "does not know the secret" in why
            assert w.refused == [why]
            sock.close()
            w.holds[0] = False
            why, sock = await w.ask(w.cloud)
            assert why == "this node does not hold the SEP"
            sock.close()
            assert w.relay.counts() == {"open": 0, "opened": 0, "refused": 7, "bytes": 0}
            other.close()

    asyncio.run(run())


def test_a_member_has_so_many_streams_and_so_many_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with world(tmp_path) as w:
            open_ones = [await w.ask(w.cloud) for _ in range(budget.STREAMS_OF_MEMBER)]
            assert [why for why, _ in open_ones] == [""] * budget.STREAMS_OF_MEMBER
            why, sock = await w.ask(w.cloud)
            assert "streams of this member are open already" in why
            for each in (*(sock for _, sock in open_ones), sock):
                each.close()
            await until(lambda: w.relay.counts()["open"] == 0)
            monkeypatch.setattr(budget, "HOUR_BYTES", 1000)
            why, sock = await w.ask(w.cloud)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(sock, b"x" * 2000)
            with contextlib.suppress(ConnectionResetError):
                while await loop.sock_recv(sock, 65536):  # until it is cut, at the next look
                    pass
            sock.close()
            why, sock = await w.ask(w.cloud)
            assert "in this hour" in why
            sock.close()

    asyncio.run(run())


def test_streams_are_cut_when_another_node_holds_the_sep(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as w:
            reader, writer = await asyncio.open_unix_connection(w.door)
            writer.write(b"x")
            assert await reader.read(1) == b"x"
            w.holds[0] = False
            w.way.holder_changed()
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read(1) == b""
            writer.close()
            reader, writer = await asyncio.open_unix_connection(w.door)
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read(1) == b""
            assert w.way.fault == "no other node holds the SEP"
            writer.close()

    asyncio.run(run())


def test_a_way_is_dialled_to_the_node_that_holds_the_sep_and_no_other(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path) as w:
            with pytest.raises(ClusterError, match="not aaaa"):
                await dial([w.address], "a" * 56, w.member, WAY)

    asyncio.run(run())
