"""The relay refuses peers without disturbing others."""

import asyncio
import socket
from pathlib import Path

import pytest
from joserfc.jwk import ECKey

from cloud.relay import RelayLimits
from gateway.tunnel import TunnelError
from protocol.ids import new_bep_id
from protocol.preface import PrefaceRole, PrefaceStatus
from settings.secret import Secret
from tests.aio import until
from tests.integration.cloud.relay.bep_peers import (
    connect,
    http_client,
    introduce,
    leave,
    running_peers,
    token,
)
from tests.twin import Twin

FORGER = ECKey.generate_key("P-256", auto_kid=True)
BEP = new_bep_id()


async def works(url: str) -> bool:
    async with http_client() as client:
        return (await client.get(f"{url}/hello")).text == "GET hello"


BAD_TOKENS = {
    "forged": token(BEP, key=FORGER),
    "expired": token(BEP, ttl_s=-60),
    "within the leeway for clocks, but over": token(BEP, ttl_s=-5),
    "for mST": token(BEP, aud="mst"),
    "no BEP id": token("short"),
    "no node id": token(BEP, sub="nobody"),
    "no BEP": token(BEP, bep=None),
    "garbage": Secret("garbage"),
    "garbage with dots": Secret("a.b.c"),
    "nothing": Secret(""),
}


def test_a_bad_token_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_peers(tmp_path) as it:
            bep = await it.open()
            for role in PrefaceRole:
                for what, secret in BAD_TOKENS.items():
                    answer, reader, writer = await introduce(it.address, role, secret)
                    assert answer == PrefaceStatus.BAD_TOKEN, what
                    assert await reader.read() == b""
                    await leave(writer)
            assert await works(bep.url)
            assert len(it.relay.beps()) == 1

    asyncio.run(scenario())


def test_opening_with_a_bad_token_says_so_without_showing_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_peers(tmp_path) as it:
            secret = token(BEP, key=FORGER)
            with pytest.raises(TunnelError, match="cannot open BEP: relay refused") as caught:
                await it.host.open(it.grant(BEP, secret), "test")
            assert secret.reveal() not in str(caught.value)
            assert it.host.beps() == []

    asyncio.run(scenario())


def test_a_relay_that_is_not_there_is_named(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_peers(tmp_path) as it:
            await it.relay.stop()
            with pytest.raises(TunnelError, match=f"cannot reach relay .*:{it.address[1]}: "):
                await it.host.open(it.grant(BEP, token(BEP)), "test")

    asyncio.run(scenario())


def test_a_token_serves_its_own_bep_only(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_peers(tmp_path) as it:
            bep = await it.open()
            gone, _, writer = await introduce(it.address, PrefaceRole.DATA, token(BEP))
            assert gone == PrefaceStatus.GONE
            await leave(writer)
            thief = token(bep.bep_id, sub="cd" * 28)
            for role in PrefaceRole:
                answer, _, writer = await introduce(it.address, role, thief)
                assert answer == PrefaceStatus.BAD_TOKEN
                await leave(writer)
            assert await works(bep.url)

    asyncio.run(scenario())


def test_a_visitor_of_no_bep_reads_a_problem(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_peers(tmp_path) as it, http_client() as client:
            bep = await it.open()
            for path in (f"/{new_bep_id()}/hello", "/", "/favicon.ico"):
                url = f"http://127.0.0.1:{it.address[1]}{path}"
                upload = await client.post(url, content=bytes(500_000))
                for answer in (await client.get(url), upload):
                    assert answer.status_code == 404
                    assert answer.headers["content-type"] == "application/problem+json"
                    assert answer.json()["status"] == 404
            assert it.seen == []
            assert await works(bep.url)

    asyncio.run(scenario())


def test_a_refused_visitor_who_still_sends_can_read_why(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_peers(tmp_path) as it:
            reader, writer = await connect(it.address)
            writer.write(f"PUT /{BEP}/x HTTP/1.1\r\ncontent-length: 9999999\r\n\r\n".encode())
            for _ in range(5):  # a reset would come with the second
                writer.write(bytes(10_000))
                await writer.drain()
                await asyncio.sleep(0.02)
            assert (await reader.read()).startswith(b"HTTP/1.1 404 ")
            await leave(writer)

    asyncio.run(scenario())


NONSENSE = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"HECB\x07\x01\x00\x03abc",
    b"HECB\x01\x01\xff\xff",
    bytes(5000),
    b"SSH-2.0-x\r\n",
]


def test_nonsense_ends_its_own_connection_only(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_peers(tmp_path) as it:
            bep = await it.open()
            for nonsense in NONSENSE:
                reader, writer = await connect(it.address)
                writer.write(nonsense)
                with pytest.raises(ConnectionResetError):
                    await reader.readexactly(1)
                await leave(writer)
            assert await works(bep.url)

    asyncio.run(scenario())


def test_a_connection_that_does_not_identify_itself_is_cut(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_peers(tmp_path, RelayLimits(identify_s=0.3)) as it:
            bep = await it.open()
            slow = [await connect(it.address) for _ in range(3)]
            for (_, writer), start in zip(
                slow, (b"", b"G", b"HECB\x01\x01\x01\x00abc"), strict=True
            ):
                writer.write(start)
            assert await works(bep.url)
            for reader, writer in slow:
                with pytest.raises(ConnectionResetError):
                    await asyncio.wait_for(reader.readexactly(1), 5)
                await leave(writer)

    asyncio.run(scenario())


async def trickle(writer: asyncio.StreamWriter, content: bytes) -> None:
    for letter in content:
        writer.write(bytes([letter]))
        await writer.drain()
        await asyncio.sleep(0.05)


def test_one_byte_at_a_time_does_not_buy_time(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_peers(tmp_path, RelayLimits(identify_s=0.5)) as it:
            _, writer = await connect(it.address)
            with Twin() as twin, pytest.raises(ConnectionError):
                await trickle(writer, b"HECB\x01\x01\x0f\x00" + bytes(1000))
            assert twin.elapsed_s < 5
            await leave(writer)

    asyncio.run(scenario())


def test_the_silent_cannot_keep_others_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_peers(tmp_path, RelayLimits(unidentified=5)) as it:
            bep = await it.open()
            silent = [await connect(it.address) for _ in range(20)]
            assert await works(bep.url)
            for reader, _ in silent[:10]:
                with pytest.raises(ConnectionResetError):
                    await asyncio.wait_for(reader.readexactly(1), 5)
            for _, writer in silent:
                await leave(writer)

    asyncio.run(scenario())


# case CL12
def test_the_bound_on_the_silent_holds_in_a_burst(tmp_path: Path) -> None:
    bound, burst = 4, 200

    async def scenario() -> None:
        async with running_peers(tmp_path, RelayLimits(unidentified=bound)) as it:
            bep = await it.open()
            sockets = [socket.socket() for _ in range(burst)]
            for each in sockets:  # the kernel takes them all before the relay has a turn
                each.setblocking(False)
                with pytest.raises(BlockingIOError):
                    each.connect(it.address)

            def still_open() -> int:
                return sum(map(is_open, sockets))

            await until(lambda: still_open() == bound)
            assert await works(bep.url)
            assert still_open() == bound - 1, "the honest one took the place of the oldest"
            for each in sockets:
                each.close()

    asyncio.run(scenario())


def is_open(sock: socket.socket) -> bool:
    try:
        return sock.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def test_a_visitor_is_told_when_its_node_opens_no_connection(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            running_peers(tmp_path, RelayLimits(wait_s=0.3, waiting=1)) as it,
            http_client() as client,
        ):
            answer, _, control = await introduce(it.address, PrefaceRole.CONTROL, token(BEP))
            assert answer == PrefaceStatus.ACCEPTED
            url = f"http://127.0.0.1:{it.address[1]}/{BEP}/hello"
            answers = await asyncio.gather(client.get(url), client.get(url))
            assert sorted(answer.status_code for answer in answers) == [503, 504]
            assert "detail" in answers[0].json()
            await leave(control)

    asyncio.run(scenario())


def test_beps_are_bounded(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_peers(tmp_path, RelayLimits(beps=1)) as it:
            bep = await it.open()
            with pytest.raises(TunnelError, match="it is full"):
                await it.open()
            assert await works(bep.url)

    asyncio.run(scenario())


def test_a_ready_connection_that_speaks_first_is_dropped(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_peers(tmp_path) as it:
            _, _, control = await introduce(it.address, PrefaceRole.CONTROL, token(BEP))
            answer, reader, writer = await introduce(it.address, PrefaceRole.DATA, token(BEP))
            assert answer == PrefaceStatus.ACCEPTED
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            with pytest.raises(ConnectionResetError):
                await reader.readexactly(1)
            await until(lambda: it.bep(BEP).ready == 0)
            await leave(writer)
            await leave(control)

    asyncio.run(scenario())


def test_a_control_connection_that_talks_nonsense_is_dropped(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running_peers(tmp_path) as it:
            for frame in (b"\x09\x00\x00", b"\x01\x00\x01"):
                _, reader, control = await introduce(it.address, PrefaceRole.CONTROL, token(BEP))
                control.write(frame)
                assert await asyncio.wait_for(reader.read(1), 5) == b""
                await leave(control)

    asyncio.run(scenario())
