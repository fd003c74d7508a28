"""A BEP opens, breaks, reconnects and ends."""

import asyncio
import hashlib
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from cloud.relay import Relay, RelayError, RelayLimits
from gateway.tunnel import TunnelError, TunnelLimits, TunnelPhase
from gateway.tunnel.dial import dial_tcp
from protocol.preface import (
    FRAME_BYTES,
    EndReason,
    FrameType,
    PrefaceRole,
    PrefaceStatus,
    decode_frame,
)
from tests.aio import until
from tests.integration.cloud.relay.bep_peers import (
    MIB,
    BepPeers,
    connect,
    content,
    http_client,
    introduce,
    keys,
    leave,
    running_peers,
    token,
)
from tests.twin import Twin

BEP = "A" * 22
QUICK = TunnelLimits(retry_first_s=0.05, retry_cap_s=0.2)


async def hello(url: str) -> str:
    async with http_client() as client:
        return (await client.get(f"{url}/hello")).text


def state_of(it: BepPeers) -> TunnelPhase | None:
    beps = it.host.beps()
    return beps[0].state if beps else None


@asynccontextmanager
async def watching(url: str) -> AsyncIterator[asyncio.Task[float]]:
    """A visitor of an endless stream; the task gives the instant at which it was cut."""
    started = asyncio.Event()

    async def read() -> None:
        async with http_client() as client, client.stream("GET", f"{url}/forever") as answer:
            async for _ in answer.aiter_raw():
                started.set()

    async def watch() -> float:
        with pytest.raises(httpx.HTTPError):
            await read()
        return time.monotonic()

    task = asyncio.create_task(watch())
    await asyncio.wait_for(started.wait(), 10)
    yield task
    await task


def test_revocation_cuts_a_running_stream_within_a_second(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_peers(tmp_path, tunnel_limits=QUICK) as it:
            bep = await it.open()
            other = await it.open()
            async with watching(bep.url) as cut:
                with Twin() as twin:
                    it.relay.revoke(bep.bep_id)
                    await cut
                assert twin.elapsed_s < 1
            await until(lambda: [status.bep_id for status in it.host.beps()] == [other.bep_id])
            async with http_client() as client:
                assert (await client.get(f"{bep.url}/hello")).status_code == 404
            with pytest.raises(TunnelError, match="has ended"):
                await it.host.open(bep, "test")
            assert await hello(other.url) == "GET hello"

    asyncio.run(scenario())


def test_revocation_needs_no_help_from_the_node(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_peers(tmp_path) as it:
            peers = [
                await introduce(it.address, role, token(BEP))
                for role in (PrefaceRole.CONTROL, PrefaceRole.DATA, PrefaceRole.DATA)
            ]
            reader, visitor = await connect(it.address)
            visitor.write(f"GET /{BEP}/x ".encode())
            _, joined, _ = peers[2]  # the newest
            assert (await joined.readexactly(4)) == b"GET "
            with Twin() as twin:
                it.relay.revoke(BEP)
                for stream in (reader, joined):
                    with pytest.raises(ConnectionResetError):
                        await stream.read()
                for _, ended, _ in peers[:2]:
                    await ended.read()
            assert twin.elapsed_s < 1
            for writer in (visitor, *[writer for _, _, writer in peers]):
                await leave(writer)

    asyncio.run(scenario())


def test_what_is_revoked_before_the_relay_starts_stays_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_peers(tmp_path) as it:
            relay = Relay(keys)
            relay.revoke(BEP)
            address = await relay.start("127.0.0.1", 0)
            it.address = address
            with pytest.raises(TunnelError, match="has ended"):
                await it.host.open(it.grant(BEP, token(BEP)), "test")
            await relay.stop()

    asyncio.run(scenario())


def test_expiry_ends_a_bep_and_its_streams(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_peers(tmp_path) as it:
            started = time.monotonic()
            bep = await it.open(ttl_s=2)
            async with watching(bep.url) as cut:
                with Twin() as twin:
                    assert await cut - started > 0.5
                assert twin.elapsed_s < 4
            await until(lambda: it.host.beps() == [])
            assert it.relay.beps() == []

    asyncio.run(scenario())


def test_a_tunnel_comes_back_when_the_relay_restarts(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_peers(tmp_path, tunnel_limits=QUICK) as it:
            bep = await it.open()
            assert await hello(bep.url) == "GET hello"
            await it.relay.stop()
            await until(lambda: state_of(it) is TunnelPhase.BROKEN)
            again = Relay(keys)
            await again.start(*it.address)
            await until(lambda: state_of(it) is TunnelPhase.OPEN)
            assert await hello(bep.url) == "GET hello"
            await it.host.stop()
            await again.stop()

    asyncio.run(scenario())


def test_a_tunnel_survives_the_loss_of_its_control_connection(tmp_path: Path) -> None:
    dialled: list[socket.socket] = []

    async def dial(host: str, port: int) -> socket.socket:
        dialled.append(await dial_tcp(host, port))
        return dialled[-1]

    async def scenario() -> None:
        slow = TunnelLimits(retry_first_s=1.0)
        async with running_peers(tmp_path, tunnel_limits=slow, dial=dial) as it:
            bep = await it.open()
            async with watching(bep.url) as cut:
                await until(lambda: it.bep(bep.bep_id).ready == 2)
                dialled[0].shutdown(socket.SHUT_RDWR)
                await until(lambda: state_of(it) is TunnelPhase.BROKEN)
                assert await hello(bep.url) == "GET hello"  # on a connection that was ready
                assert state_of(it) is TunnelPhase.BROKEN
                await until(lambda: state_of(it) is TunnelPhase.OPEN)
                await until(lambda: it.bep(bep.bep_id).ready == 2)
                assert await hello(bep.url) == "GET hello"
                assert not cut.done()
                it.relay.revoke(bep.bep_id)

    asyncio.run(scenario())


def test_data_connections_that_die_are_opened_again(tmp_path: Path) -> None:
    dialled: list[socket.socket] = []

    async def dial(host: str, port: int) -> socket.socket:
        dialled.append(await dial_tcp(host, port))
        return dialled[-1]

    async def scenario() -> None:
        async with running_peers(
            tmp_path, tunnel_limits=TunnelLimits(reopen_s=0.1), dial=dial
        ) as it:
            bep = await it.open()
            for sock in dialled[1:]:
                sock.shutdown(socket.SHUT_RDWR)
            assert await hello(bep.url) == "GET hello"
            await until(lambda: it.bep(bep.bep_id).ready == 2)

    asyncio.run(scenario())


def test_the_relay_pings_and_drops_a_node_that_does_not_answer(tmp_path: Path) -> None:
    async def scenario() -> None:
        limits = RelayLimits(ping_s=0.2, pong_s=0.5, grace_s=0.5)
        async with running_peers(tmp_path, limits) as it:
            bep = await it.open()
            answer, reader, writer = await introduce(it.address, PrefaceRole.CONTROL, token(BEP))
            assert answer == PrefaceStatus.ACCEPTED
            kind, _ = decode_frame(await reader.readexactly(FRAME_BYTES))
            assert kind is FrameType.PING
            assert await asyncio.wait_for(reader.read(), 5) == b""
            await leave(writer)
            await until(lambda: [one.id for one in it.relay.beps()] == [bep.bep_id])
            assert state_of(it) is TunnelPhase.OPEN

    asyncio.run(scenario())


def test_an_idle_bep_ends(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_peers(tmp_path, RelayLimits(idle_s=0.5)) as it:
            await it.open()
            await until(lambda: it.host.beps() == [])

    asyncio.run(scenario())


def test_a_stopping_relay_tells_its_nodes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_peers(tmp_path) as it:
            _, reader, writer = await introduce(it.address, PrefaceRole.CONTROL, token(BEP))
            await it.relay.stop()
            frame = decode_frame(await reader.readexactly(FRAME_BYTES))
            assert frame == (FrameType.END, EndReason.RELAY_STOPS)
            await leave(writer)

    asyncio.run(scenario())


def test_closing_a_bep_cuts_its_visitors_and_no_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_peers(tmp_path) as it:
            bep, other = await it.open(), await it.open()
            with pytest.raises(TunnelError, match="it is open"):
                await it.host.open(bep, "test")
            async with watching(bep.url) as cut:
                await it.host.close(bep.bep_id)
                await asyncio.wait_for(asyncio.shield(cut), 5)
            await it.host.close(bep.bep_id)
            assert [status.bep_id for status in it.host.beps()] == [other.bep_id]
            assert await hello(other.url) == "GET hello"

    asyncio.run(scenario())


def test_a_reset_is_passed_on_to_the_other_end(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_peers(tmp_path) as it:
            bep = await it.open()
            _, writer = await connect(it.address)
            writer.write(f"GET /{bep.bep_id}/forever HTTP/1.1\r\nhost: x\r\n\r\n".encode())
            await until(lambda: it.seen != [])
            writer.transport.abort()
            await until(lambda: it.host.beps()[0].visitors == 0)
            assert it.bep(bep.bep_id).visitors == 0

    asyncio.run(scenario())


def test_the_end_of_a_request_reaches_the_server_and_its_answer_the_visitor(
    tmp_path: Path,
) -> None:
    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        digest = hashlib.sha256(await reader.read())  # until the visitor's half-close
        writer.write(digest.digest())
        await leave(writer)

    async def scenario() -> None:
        target = tmp_path / "raw"
        async with (
            await asyncio.start_unix_server(count, target),
            running_peers(tmp_path, target=target) as it,
        ):
            bep = await it.open()
            reader, writer = await connect(it.address)
            sent = f"PUT /{bep.bep_id}/x".encode() + b" " + b"".join(content(5 * MIB))
            writer.write(sent)
            writer.write_eof()
            assert await reader.read() == hashlib.sha256(sent).digest()
            await leave(writer)

    asyncio.run(scenario())


def test_without_local_server_the_visitor_is_cut_and_the_tunnel_stays(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            running_peers(tmp_path, target=tmp_path / "nobody") as it,
            http_client() as client,
        ):
            bep = await it.open()
            with pytest.raises(httpx.TransportError):
                await client.get(f"{bep.url}/hello")
            await until(lambda: it.bep(bep.bep_id).ready == 2)
            assert state_of(it) is TunnelPhase.OPEN
            assert it.host.beps()[0].visitors == 0

    asyncio.run(scenario())


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_peers(tmp_path) as it:
            port = it.address[1]
            with pytest.raises(RelayError, match=f"cannot listen on 127.0.0.1:{port}: address al"):
                await Relay(keys).start(*it.address)

    asyncio.run(scenario())


def test_nothing_is_left_open(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_peers(tmp_path, tunnel_limits=QUICK) as it:
            for _ in range(3):
                bep = await it.open()
                async with watching(bep.url):
                    await asyncio.gather(*[hello(bep.url) for _ in range(10)])
                    it.relay.revoke(bep.bep_id)
            await it.open()

    def count() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  a count of names

    before = count()
    asyncio.run(scenario())
    assert count() <= before
