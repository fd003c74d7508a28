"""The splicer on real sockets: bytes, ends, resets, bounds, fairness."""

import asyncio
import errno
import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from protocol.splice import SplicedPair, SpliceLimits, Splicer, tune
from protocol.splice.pipes import Buffer, Memory, Pipe, PipePool
from tests.aio import until
from tests.integration.cloud.relay.bep_peers import leave, stands_still
from tests.twin import Twin

MIB = 1 << 20
IN_KERNEL, IN_MEMORY, MIXED = SpliceLimits(pipes=4), SpliceLimits(pipes=0), SpliceLimits(pipes=1)
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    return near, far


@dataclass
class Ends:
    left: Stream
    right: Stream
    pair: SplicedPair
    ended: list[SplicedPair]


@dataclass
class Bench:
    splicer: Splicer
    streams: list[Stream] = field(default_factory=list)

    async def join(self, head: bytes = b"") -> Ends:
        """Join a TCP connection with a Unix one, as the serving end does."""
        (left, inner_left), (right, inner_right) = tcp_pair(), socket.socketpair()
        ended: list[SplicedPair] = []
        tune(inner_left)
        tune(inner_right)
        pair = self.splicer.join(inner_left, inner_right, ended.append, head)
        outer = [await asyncio.open_connection(sock=sock) for sock in (left, right)]
        self.streams += outer
        return Ends(outer[0], outer[1], pair, ended)


@asynccontextmanager
async def bench(limits: SpliceLimits) -> AsyncIterator[Bench]:
    made = Bench(Splicer(limits))
    try:
        yield made
    finally:
        made.splicer.close()
        for _, writer in made.streams:
            await leave(writer)


async def send(stream: Stream, content: bytes, rng: random.Random) -> None:
    start = 0
    while start < len(content):
        size = rng.choice([1, 100, 5000, 200_000])
        stream[1].write(content[start : start + size])
        await stream[1].drain()
        start += size
    stream[1].write_eof()


@pytest.mark.parametrize("limits", [IN_KERNEL, IN_MEMORY, MIXED])
def test_bytes_go_both_ways_at_once_unchanged(limits: SpliceLimits) -> None:
    rng = random.Random(1)
    up, down = rng.randbytes(3 * MIB), rng.randbytes(5 * MIB)

    async def scenario() -> None:
        async with bench(limits) as it:
            ends = await it.join()
            _, _, got_up, got_down = await asyncio.gather(
                send(ends.left, up, rng),
                send(ends.right, down, rng),
                ends.right[0].read(),
                ends.left[0].read(),
            )
            assert (got_up, got_down) == (up, down)
            await until(lambda: ends.ended == [ends.pair])
            assert ends.pair.moved == 8 * MIB

    asyncio.run(scenario())


@pytest.mark.parametrize("limits", [IN_KERNEL, IN_MEMORY, MIXED])
def test_many_share_few_pipes(limits: SpliceLimits) -> None:
    contents = [random.Random(number).randbytes(MIB) for number in range(12)]

    async def scenario() -> None:
        async with bench(limits) as it:
            ends = [await it.join() for _ in contents]
            sending = [
                asyncio.create_task(send(end.left, content, random.Random(1)))
                for end, content in zip(ends, contents, strict=True)
            ]
            await stands_still(lambda: sum(end.pair.moved for end in ends))  # all are stuck
            got = await asyncio.gather(*[end.right[0].read() for end in ends])
            assert got == contents
            await asyncio.gather(*sending)

    asyncio.run(scenario())


@pytest.mark.parametrize("limits", [IN_KERNEL, IN_MEMORY])
def test_the_head_comes_first(limits: SpliceLimits) -> None:
    async def scenario() -> None:
        async with bench(limits) as it:
            ends = await it.join(head=b"GET / HTTP/1.1\r\n")
            assert await ends.right[0].readexactly(16) == b"GET / HTTP/1.1\r\n"
            ends.left[1].write(b"\r\n")
            assert await ends.right[0].readexactly(2) == b"\r\n"
            assert ends.pair.moved == 18

    asyncio.run(scenario())


@pytest.mark.parametrize("limits", [IN_KERNEL, IN_MEMORY])
@pytest.mark.parametrize("first", ["left", "right"])
def test_one_end_may_finish_long_before_the_other(limits: SpliceLimits, first: str) -> None:
    async def scenario() -> None:
        async with bench(limits) as it:
            ends = await it.join()
            early, late = (ends.left, ends.right) if first == "left" else (ends.right, ends.left)
            early[1].write(b"question")
            early[1].write_eof()
            assert await late[0].read() == b"question"
            for _ in range(3):
                late[1].write(b"answer")
                assert await early[0].readexactly(6) == b"answer"
            assert ends.ended == []
            late[1].write_eof()
            assert await early[0].read() == b""
            await until(lambda: ends.ended == [ends.pair])

    asyncio.run(scenario())


@pytest.mark.parametrize("limits", [IN_KERNEL, IN_MEMORY])
def test_a_slow_reader_stops_its_writer_until_it_reads(limits: SpliceLimits) -> None:
    content = random.Random(1).randbytes(40 * MIB)

    async def scenario() -> None:
        async with bench(limits) as it:
            ends = await it.join()
            sending = asyncio.create_task(send(ends.left, content, random.Random(1)))
            assert await stands_still(lambda: ends.pair.moved) < 10 * MIB
            assert not sending.done()
            assert await ends.right[0].read() == content
            await sending

    asyncio.run(scenario())


def test_a_flood_does_not_keep_others_waiting() -> None:
    async def scenario() -> None:
        async with bench(IN_KERNEL) as it:
            flood, small = await it.join(), await it.join()
            sending = asyncio.create_task(_flood(flood.left))
            reading = asyncio.create_task(_drain(flood.right))
            await until(lambda: flood.pair.moved > 20 * MIB)
            with Twin() as twin:
                for _ in range(20):
                    small.left[1].write(b"ping")
                    await small.right[0].readexactly(4)
            assert twin.elapsed_s < 5
            for task in (sending, reading):
                task.cancel()

    async def _flood(stream: Stream) -> None:
        while True:
            stream[1].write(bytes(MIB))
            await stream[1].drain()

    async def _drain(stream: Stream) -> None:
        while True:
            await stream[0].read(MIB)

    asyncio.run(scenario())


@pytest.mark.parametrize("limits", [IN_KERNEL, IN_MEMORY])
@pytest.mark.parametrize("held", [0, 20 * MIB])
def test_a_reset_reaches_the_other_end_as_a_reset(limits: SpliceLimits, held: int) -> None:
    async def scenario() -> None:
        async with bench(limits) as it:
            ends = await it.join()
            ends.right[1].write(bytes(held))  # nobody reads it
            await stands_still(lambda: ends.pair.moved)
            ends.left[1].get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
            )
            ends.left[1].transport.abort()
            await until(lambda: ends.ended == [ends.pair])
            with pytest.raises(ConnectionError):
                await _write_until_it_fails(ends.right[1])

    async def _write_until_it_fails(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    asyncio.run(scenario())


def test_an_early_answer_arrives_and_what_nobody_reads_ends_in_time() -> None:
    async def scenario() -> None:
        async with bench(SpliceLimits(linger_s=0.4)) as it:
            ends = await it.join()
            sending = asyncio.create_task(_keep_sending(ends.left[1]))
            await ends.right[0].readexactly(100_000)
            ends.right[1].write(b"too large")
            await leave(ends.right[1])
            assert await ends.left[0].readexactly(9) == b"too large"
            assert await ends.left[0].read(1) == b""
            assert ends.ended == []  # a reset now could overtake the answer
            await until(lambda: ends.ended == [ends.pair])
            await sending

    async def _keep_sending(writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while True:
                writer.write(bytes(65536))
                await writer.drain()

    asyncio.run(scenario())


def test_a_peer_that_takes_no_more_may_still_send() -> None:
    async def scenario() -> None:
        async with bench(SpliceLimits(linger_s=0.2)) as it:
            ends = await it.join()
            ends.right[1].get_extra_info("socket").shutdown(socket.SHUT_RD)
            ends.left[1].write(b"nobody reads this")
            for _ in range(5):
                ends.right[1].write(b"still here")
                assert await ends.left[0].readexactly(10) == b"still here"
                await asyncio.sleep(0.1)
            assert ends.ended == []

    asyncio.run(scenario())


def test_an_idle_joint_is_cut_a_busy_one_is_not() -> None:
    async def scenario() -> None:
        async with bench(SpliceLimits(idle_s=0.4)) as it:
            idle, busy = await it.join(), await it.join()
            while idle.ended == []:
                busy.left[1].write(b"x")
                await busy.right[0].readexactly(1)
            with pytest.raises(ConnectionResetError):
                await idle.left[0].readexactly(1)
            assert await idle.right[0].read() == b""  # Unix sockets know no reset
            assert busy.ended == []

    asyncio.run(scenario())


def count_open() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  a count of names


def test_streams_in_which_nothing_moves_hold_no_pipe() -> None:
    async def scenario() -> None:
        async with bench(IN_KERNEL) as it:
            before = count_open()
            ends = [await it.join() for _ in range(4)]
            for end in ends:
                end.left[1].write(b"x")
                await end.right[0].readexactly(1)
            pipes = count_open() - before - 4 * 4  # a pair and its peers are four sockets
            assert pipes == 2  # the two ends of one, which all of them used

    asyncio.run(scenario())


def test_a_cut_joint_ends_once_and_leaves_nothing_open() -> None:
    async def scenario() -> None:
        async with bench(IN_KERNEL) as it:
            ends = [await it.join() for _ in range(8)]
            for end in ends:
                end.left[1].write(bytes(20 * MIB))
            await stands_still(lambda: sum(end.pair.moved for end in ends))
            for end in ends[:4]:
                end.pair.cut()
                end.pair.cut()
                assert end.ended == [end.pair]
                with pytest.raises(ConnectionError):
                    await end.left[1].drain()
        assert all(end.ended == [end.pair] for end in ends)

    before = count_open()
    asyncio.run(scenario())
    assert count_open() == before


class Unable(Pipe):
    """A pipe on a kernel that cannot splice these sockets."""

    def fill(self, source: socket.socket) -> int:
        raise OSError(errno.EINVAL, f"cannot splice {source.family}")


class UnablePool(PipePool):
    """Has one good pipe free, but lends a bad one first; notes what it lends."""

    def __init__(self) -> None:
        super().__init__(limit=4)
        self.give_back(super().borrow())
        self.lent: list[Buffer] = []

    def borrow(self) -> Buffer:
        self.lent.append(super().borrow() if self.lent else Unable(4096))
        return self.lent[-1]

    def give_back(self, buffer: Buffer) -> None:
        if isinstance(buffer, Unable):
            buffer.close()
        else:
            super().give_back(buffer)


def test_where_the_kernel_cannot_splice_memory_does() -> None:
    sockets = [*socket.socketpair(), *socket.socketpair()]
    for sock in sockets:
        tune(sock)
    near, left, right, far = sockets
    before = count_open()
    pool = UnablePool()
    direction, _ = SplicedPair(lambda _: None, (left, right), lambda _: None, pool).directions
    near.send(b"hello")
    assert not direction.move(1000)
    assert far.recv(10) == b"hello"
    assert isinstance(pool.lent[0], Unable)
    assert all(isinstance(buffer, Memory) for buffer in pool.lent[1:])
    assert count_open() == before
    for sock in sockets:
        sock.close()
