"""The broker's own transport, over real sockets."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from broker.net import transport as streams
from broker.net.transport import Poller, Stream
from tests.aio import until

WAIT_S = 10.0
MUCH = bytes(range(256)) * 16_384  # 4 MiB: more than a socket pair holds


class Owner(asyncio.BufferedProtocol):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(4_096))
        self.received = b""
        self.writing: list[str] = []
        self.ends: list[Exception | None] = []
        self.fault: Exception | None = None
        self.then: Callable[[], None] = lambda: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, Stream)
        self.stream = transport

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # asyncio's
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self.fault is not None:
            raise self.fault
        self.received += bytes(self.buffer[:nbytes])
        self.then()

    def pause_writing(self) -> None:
        self.writing.append("pause")

    def resume_writing(self) -> None:
        self.writing.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.ends.append(exc)


class Rig:
    """One poller, and pairs of an owner and its peer's socket."""

    def __init__(self, commit: Callable[[], bool] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.poller = Poller(self.loop, commit)
        self.peers: list[socket.socket] = []

    def pair(self, *, tcp: bool = False) -> tuple[Owner, socket.socket]:
        near, peer = _tcp_pair() if tcp else socket.socketpair()
        peer.setblocking(False)
        self.peers.append(peer)
        owner = Owner()
        self.poller.open(near, owner)
        return owner, peer

    async def read_all(self, peer: socket.socket) -> bytes:
        received = b""
        async with asyncio.timeout(WAIT_S):
            while chunk := await self.loop.sock_recv(peer, 65_536):
                received += chunk
        return received


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.create_connection(server.getsockname())
        return server.accept()[0], peer


@asynccontextmanager
async def new_rig(commit: Callable[[], bool] | None = None) -> AsyncIterator[Rig]:
    rig = Rig(commit)
    try:
        yield rig
    finally:
        rig.poller.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for peer in rig.peers:
            peer.close()


def run(test: Callable[[Rig], Awaitable[None]]) -> None:
    async def body() -> None:
        async with new_rig() as rig:
            await test(rig)

    asyncio.run(body())


def test_what_the_kernel_does_not_take_follows_in_order() -> None:
    async def test(rig: Rig) -> None:
        owner, peer = rig.pair()
        for at in range(0, len(MUCH), 65_536):
            owner.stream.write(MUCH[at : at + 65_536])
        assert owner.stream.get_write_buffer_size() > 0
        owner.stream.close()
        assert await rig.read_all(peer) == MUCH
        await until(lambda: owner.ends)
        assert owner.ends == [None]

    run(test)


@pytest.mark.parametrize(("is_awaited", "sockets"), [(True, 1), (True, 2), (False, 1)])
def test_input_gathers_while_a_commit_is_awaited_after_a_turn_of_several_sockets(
    monkeypatch: pytest.MonkeyPatch, is_awaited: bool, sockets: int
) -> None:
    monkeypatch.setattr(streams, "GATHER_S", 60.0)
    monkeypatch.setattr(streams, "GATHER_SOCKETS", sockets)
    gathers = is_awaited and sockets == 1

    async def body() -> None:
        turns: list[None] = []

        def commit() -> bool:
            turns.append(None)
            return is_awaited

        async with new_rig(commit) as rig:
            (first, peer), (second, other) = rig.pair(), rig.pair()
            peer.send(b"one")
            await until(lambda: turns)
            other.send(b"two")
            for _ in range(10):
                await asyncio.sleep(0)
            assert first.received == b"one"
            assert second.received == (b"" if gathers else b"two")

    asyncio.run(body())


def test_what_gathered_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "GATHER_SOCKETS", 1)

    async def body() -> None:
        async with new_rig(lambda: True) as rig:
            owner, peer = rig.pair()
            for number in range(1, 6):
                peer.send(b"x")
                await until(lambda: len(owner.received) == number)  # noqa: B023  # at once

    asyncio.run(body())


def test_the_owner_pauses_above_the_limit_and_resumes_below() -> None:
    async def test(rig: Rig) -> None:
        owner, peer = rig.pair()
        owner.stream.set_write_buffer_limits(high=1_000_000)
        owner.stream.write(MUCH)
        assert owner.writing == ["pause"]
        while owner.stream.get_write_buffer_size() > 250_000:
            assert owner.writing == ["pause"]
            await rig.loop.sock_recv(peer, 65_536)
        await until(lambda: owner.writing == ["pause", "resume"])

    run(test)


def test_lower_limits_hold_at_once() -> None:
    async def test(rig: Rig) -> None:
        owner, _ = rig.pair()
        owner.stream.set_write_buffer_limits(high=len(MUCH))
        owner.stream.write(MUCH)
        assert owner.writing == []
        owner.stream.set_write_buffer_limits(high=0)
        assert owner.writing == ["pause"]

    run(test)


def test_a_peer_that_closes_ends_it_once() -> None:
    async def test(rig: Rig) -> None:
        owner, peer = rig.pair()
        peer.send(b"bye")
        peer.close()
        await until(lambda: owner.ends)
        owner.stream.abort()
        owner.stream.close()
        owner.stream.write(b"late")
        await asyncio.sleep(0)
        assert (owner.received, owner.ends) == (b"bye", [None])
        assert owner.stream.is_closing()

    run(test)


def test_a_reset_ends_it_with_the_reason() -> None:
    async def test(rig: Rig) -> None:
        owner, peer = rig.pair(tcp=True)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        await until(lambda: owner.ends)
        assert isinstance(owner.ends[0], ConnectionResetError)

    run(test)


def test_the_end_of_writing_comes_behind_what_waits_and_reading_goes_on() -> None:
    async def test(rig: Rig) -> None:
        owner, peer = rig.pair()
        owner.stream.write(MUCH)
        owner.stream.write_eof()
        assert await rig.read_all(peer) == MUCH
        peer.send(b"still here")
        await until(lambda: owner.received)
        assert (owner.received, owner.ends) == (b"still here", [])

    run(test)


def test_abort_drops_what_waits() -> None:
    async def test(rig: Rig) -> None:
        owner, peer = rig.pair()
        owner.stream.write(MUCH)
        owner.stream.abort()
        owner.stream.abort()
        assert owner.ends == []  # never from within a call
        await until(lambda: owner.ends)
        await asyncio.sleep(0)
        assert owner.ends == [None]
        assert len(await rig.read_all(peer)) < len(MUCH)

    run(test)


def test_what_is_not_read_waits_for_it() -> None:
    async def test(rig: Rig) -> None:
        owner, peer = rig.pair()
        owner.stream.pause_reading()
        peer.send(b"later")
        for _ in range(5):
            await asyncio.sleep(0)
        assert owner.received == b""
        owner.stream.resume_reading()
        await until(lambda: owner.received == b"later")

    run(test)


def test_a_dead_peer_that_is_not_read_does_not_keep_the_loop_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns = 0
    take_turn = Poller._take_turn

    def counted(poller: Poller) -> None:
        nonlocal turns
        turns += 1
        take_turn(poller)

    monkeypatch.setattr(Poller, "_take_turn", counted)

    async def test(rig: Rig) -> None:
        owner, peer = rig.pair()
        owner.stream.pause_reading()
        peer.close()
        for _ in range(20):
            await asyncio.sleep(0)
        assert turns == 0
        owner.stream.resume_reading()
        await until(lambda: owner.ends)

    run(test)


def test_a_fault_of_an_owner_costs_its_own_connection_only() -> None:
    async def test(rig: Rig) -> None:
        reported: list[object] = []
        rig.loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
        (bad, bad_peer), (good, good_peer) = rig.pair(), rig.pair()
        bad.fault = ValueError("no")
        bad_peer.send(b"x")
        good_peer.send(b"y")
        await until(lambda: bad.ends and good.received)
        assert bad.ends == reported == [bad.fault]
        assert good.ends == []

    run(test)


def test_a_turn_is_bounded_and_the_next_goes_on_where_it_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams, "TURN_BYTES", 4_096)

    async def test(rig: Rig) -> None:
        pairs = [rig.pair() for _ in range(3)]
        for _, peer in pairs:
            peer.send(bytes(8_192))
        seen = []
        for _ in range(6):
            before = [len(owner.received) for owner, _ in pairs]
            rig.poller._take_turn()
            after = [len(owner.received) for owner, _ in pairs]
            seen.append([b - a for a, b in zip(before, after, strict=True)].index(4_096))
        assert sorted(seen[:3]) == sorted(seen[3:]) == [0, 1, 2]

    run(test)


def test_what_is_for_the_end_of_a_turn_comes_after_all_reads_and_before_the_loop_goes_on() -> None:
    async def test(rig: Rig) -> None:
        pairs = [rig.pair() for _ in range(3)]
        seen: list[list[bytes]] = []
        for owner, peer in pairs:
            owner.then = lambda: rig.poller.call_soon(
                lambda: seen.append([each.received for each, _ in pairs])
            )
            peer.send(b"x")
        rig.poller._take_turn()
        assert seen == [[b"x"] * 3] * 3
        rig.poller.call_soon(lambda: seen.append([]))
        assert len(seen) == 3  # outside of a turn it is the loop that calls
        await until(lambda: len(seen) == 4)

    run(test)


def test_a_fault_in_a_turn_does_not_keep_the_end_of_it() -> None:
    async def test(rig: Rig) -> None:
        owner, peer = rig.pair()
        ended: list[bool] = []

        def fail() -> None:
            rig.poller.call_soon(lambda: ended.append(True))
            raise ValueError("no")

        rig.loop.set_exception_handler(lambda _, __: None)
        owner.then = fail
        peer.send(b"x")
        await until(lambda: ended)
        await until(lambda: owner.ends)

    run(test)


def test_closing_the_poller_ends_all() -> None:
    async def body() -> None:
        async with new_rig() as rig:
            owner, _ = rig.pair()
        assert owner.ends == [None]

    asyncio.run(body())
