"""BEPs through a relay with TLS: the same promises as without (case CL8)."""

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from cloud.relay import RelayLimits
from gateway.tunnel import TunnelError, TunnelHost
from protocol.preface import PrefaceRole
from protocol.splice import accept_tls, connect_tls, cut, tune
from tests.aio import until
from tests.certificates import Files, make_authority
from tests.integration.cloud.relay.bep_peers import (
    MIB,
    BepPeers,
    content,
    curl,
    digest_of,
    introduce,
    running_peers,
    stands_still,
    token,
)
from tests.integration.protocol.splice.test_splicer import tcp_pair
from tests.programs import PATIENCE

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def running_tls_peers(
    tmp_path: Path, limits: RelayLimits | None = None
) -> AsyncIterator[tuple[BepPeers, httpx.AsyncClient]]:
    files = make_authority(tmp_path / "tls")
    trust = files.client_context()
    async with (
        running_peers(tmp_path, limits, files=files) as it,
        httpx.AsyncClient(trust_env=False, verify=trust, timeout=30 * PATIENCE) as client,
    ):
        yield it, client


def test_visitors_are_served_byte_exact(tmp_path: Path) -> None:
    digest = digest_of(20 * MIB)

    async def scenario() -> None:
        async with running_tls_peers(tmp_path) as (it, client):
            bep = await it.open()
            assert bep.url.startswith("https://")
            assert (await client.get(f"{bep.url}/hello")).text == "GET hello"
            body = b"".join(content(20 * MIB))
            assert (await client.post(f"{bep.url}/sum", content=body)).text == digest
            answer = await client.get(f"{bep.url}/big/{20 * MIB}")
            assert hashlib.sha256(answer.content).hexdigest() == digest
            files = it.files
            assert files is not None
            assert await curl("--cacert", str(files.ca), f"{bep.url}/hello") == (0, b"GET hello")
            await client.aclose()
            await until(lambda: it.bep(bep.bep_id).visitors == 0)

    asyncio.run(scenario())


def test_an_early_answer_arrives_and_unknown_beps_are_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_tls_peers(tmp_path) as (it, client):
            bep = await it.open()
            answer = await client.post(f"{bep.url}/early", content=b"x" * 5 * MIB)
            assert answer.status_code == 413
            unknown = bep.url.replace(bep.bep_id, "x" * 22)
            assert (await client.get(unknown)).status_code == 404

    asyncio.run(scenario())


def test_a_slow_reader_stops_its_writer(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_tls_peers(tmp_path) as (it, client):
            bep = await it.open()
            async with client.stream("GET", f"{bep.url}/big/{200 * MIB}") as answer:
                assert answer.status_code == 200
                moved = await stands_still(lambda: it.bep(bep.bep_id).bytes)
                assert moved < 100 * MIB
            await until(lambda: it.bep(bep.bep_id).visitors == 0)  # it left, and that is known

    asyncio.run(scenario())


def test_a_revoked_bep_is_cut_and_does_not_look_complete(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_tls_peers(tmp_path) as (it, client):
            bep = await it.open()
            with pytest.raises(httpx.TransportError):  # noqa: PT012
                async with client.stream("GET", f"{bep.url}/forever") as answer:
                    async for _ in answer.aiter_raw():
                        it.relay.revoke(bep.bep_id)
            await until(lambda: not it.relay.beps())

    asyncio.run(scenario())


# case CL1
def test_a_burst_that_never_shakes_hands_leaves_visitors_served(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_tls_peers(tmp_path, RelayLimits(unidentified=8)) as (it, client):
            bep = await it.open()
            silent = [await asyncio.open_connection(*it.address) for _ in range(30)]
            for number, (_, writer) in enumerate(silent):
                writer.write(b"\x16\x03\x01"[: number % 4])
            assert (await client.get(f"{bep.url}/hello")).text == "GET hello"
            for _, writer in silent:
                writer.close()

    asyncio.run(scenario())


def test_a_peer_without_tls_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_tls_peers(tmp_path) as (it, _):
            bep = await it.open()
            async with httpx.AsyncClient(trust_env=False) as plain:
                answer = await plain.get(bep.url.replace("https:", "http:"))
            assert answer.status_code == 404
            assert "requires https://" in answer.json()["detail"]
            with pytest.raises(ConnectionResetError):
                await introduce(it.address, PrefaceRole.DATA, token(bep.bep_id))

    asyncio.run(scenario())


def test_a_node_does_not_serve_through_a_relay_that_it_cannot_verify(tmp_path: Path) -> None:
    stranger = make_authority(tmp_path / "other")

    async def scenario() -> None:
        async with running_tls_peers(tmp_path) as (it, _):
            host = TunnelHost(tmp_path / "http", trust=stranger.client_context)
            grant = it.grant("y" * 22, token("y" * 22))
            with pytest.raises(TunnelError, match="cannot reach relay"):
                await host.open(grant, "test")

    asyncio.run(scenario())


# the coupling by itself ------------------------------------------------------------------


async def coupled(files: Files) -> tuple[Stream, Stream]:
    """Return both ends of a TLS connection, each as the plain socket in its place."""
    near, far = tcp_pair()
    tune(near)
    tune(far)
    ends = await asyncio.gather(
        connect_tls(near, files.client_context(), "localhost"),
        accept_tls(far, files.server_context()),
    )
    left, right = [await asyncio.open_connection(sock=end) for end in ends]
    return left, right


def test_each_direction_ends_by_itself(tmp_path: Path) -> None:
    files = make_authority(tmp_path)

    async def scenario() -> None:
        (left_in, left_out), (right_in, right_out) = await coupled(files)
        left_out.write(b"question")
        left_out.write_eof()
        assert await right_in.read() == b"question"
        right_out.write(b"answer" * 100_000)  # behind the other's end
        right_out.write_eof()
        assert await left_in.read() == b"answer" * 100_000
        left_out.close()
        right_out.close()

    asyncio.run(scenario())


def test_a_cut_is_a_reset_for_the_other_end(tmp_path: Path) -> None:
    files = make_authority(tmp_path)

    async def scenario() -> None:
        near, far = tcp_pair()
        tune(near)
        tune(far)
        codec = asyncio.create_task(connect_tls(near, files.client_context(), "localhost"))
        outer = await accept_tls(far, files.server_context())
        other = await codec
        cut(outer)
        loop = asyncio.get_running_loop()
        assert await loop.sock_recv(other, 1) == b""
        assert other.coupling.was_cut  # type: ignore[attr-defined]  # a coupled socket
        other.close()

    asyncio.run(scenario())


def test_what_closes_is_closed_within_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("protocol.splice.tls.LINGER_S", 0.1)
    files = make_authority(tmp_path)

    async def scenario() -> None:
        near, far = tcp_pair()
        tune(far)
        near.setblocking(False)
        shaking = asyncio.create_task(accept_tls(far, files.server_context()))
        reader, writer = await asyncio.open_connection(
            sock=near, ssl=files.client_context(), server_hostname="localhost"
        )
        outer = await shaking
        outer.shutdown(1)  # as the relay's rejection: half-close, close a while later
        outer.close()
        assert await reader.read() == b""
        await until(lambda: far.fileno() < 0)
        writer.transport.abort()

    asyncio.run(scenario())


@pytest.mark.parametrize("first", [b"\x16\x03\x01\x00\x05hello", b"GET / HTTP/1.1\r\n"])
def test_what_is_no_handshake_fails(tmp_path: Path, first: bytes) -> None:
    files = make_authority(tmp_path)

    async def scenario() -> None:
        near, far = tcp_pair()
        tune(far)
        near.sendall(first)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await accept_tls(far, files.server_context())
        far.close()
        near.close()

    asyncio.run(scenario())
