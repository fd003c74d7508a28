"""Sessions between the gateway's and the device's code, over links with every fault."""

import hashlib
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.links.keys import LinkKey
from gateway.links.session import RECORD_BYTES, ChunkSession, ChunkSessionState
from protocol.chunks.wire import Chunk, encode_end
from tests.properties.protocol.test_chunks import DEVICE, SEALED, BadLink

KEY = hashlib.sha256(b"a token").digest()
NUMBER, STEP_S = 40, 0.05
QUEUE = 10  # writes that a board holds while its program does not return


def make_session(chunk_bytes: int = 100) -> ChunkSession:
    return ChunkSession(NUMBER, chunk_bytes, b"g" * 16, lambda _: LinkKey("dev-1", KEY), 0.0)


class Device:
    """The device's code, with a program that may not return for a while."""

    def __init__(self, chunk_bytes: int = 100) -> None:
        self.stream = DEVICE.ChunkStream(NUMBER, chunk_bytes)
        self.sealed = SEALED.SealedStream(b"d" * 16, b"dev-1", KEY)
        self.stream.send(self.sealed.hello())
        self.blocked_until = 0.0
        self.queue: list[bytes] = []
        self.overflowed = 0
        self.got = bytearray()

    def take(self, chunk: bytes) -> None:
        """Queue a chunk, as the radio's interrupt does; what does not fit is lost."""
        if len(self.queue) >= QUEUE:
            self.overflowed += 1
        else:
            self.queue.append(chunk)

    def run(self, now: float) -> list[bytes]:
        """Handle what is queued, unless the program does not return."""
        if now < self.blocked_until:
            return []
        for chunk in self.queue:
            self.got += b"".join(self.sealed.feed(self.stream.receive(chunk)))
        self.queue.clear()
        chunks: list[bytes] = self.stream.poll(round(now * 1000))
        return chunks


def exchange(session: ChunkSession, device: Device, up: list[bytes], down: list[bytes],
             there: BadLink, back: BadLink, block: random.Random) -> bytes:  # fmt: skip
    """Pass all messages both ways; return the bytes that the gateway got."""
    got, now, up, down = bytearray(), 0.0, list(up), list(down)
    for _ in range(60_000):
        if device.sealed.is_ready and up and device.stream.queued() < 512:
            device.stream.send(device.sealed.encode(up.pop(0)))
        while down and session.room >= len(down[0]):
            session.send(down.pop(0))
        for chunk in device.run(now):
            back.push(chunk)
        for chunk in back.pull():
            got += session.receive(chunk)
        for chunk in session.poll(now):
            there.push(chunk)
        for chunk in there.pull():
            device.take(chunk)
            if block.random() < 0.05:
                device.blocked_until = now + 0.3
        is_done = not up and not down and device.stream.is_idle()
        if (is_done and session.next_due() is None) or session.state is ChunkSessionState.ENDED:
            break
        now += STEP_S
    return bytes(got)


# case L6, case L7: 0 of 1,000 lost, once, in order, in spite of the handler that blocks 300 ms
def test_a_thousand_messages_each_way_arrive_once_and_in_order() -> None:
    chances = random.Random(7)
    up = [b"%d up;" % number for number in range(1000)]
    down = [b"%d down;" % number for number in range(1000)]
    session, device = make_session(), Device()
    there, back = (BadLink(chances, 0.05, 0.05, 0.03, 3) for _ in range(2))
    got = exchange(session, device, up, down, there, back, chances)
    assert got == b"".join(up)
    assert device.got == b"".join(down)


# case L7: 30 unacknowledged writes, while the handler blocks
def test_thirty_writes_at_once_do_not_overflow_the_queue_of_a_board() -> None:
    session, device, quiet = make_session(20), Device(20), random.Random(1)  # 50 chunks
    links = BadLink(quiet), BadLink(quiet)
    exchange(session, device, [b"ready"], [], *links, quiet)
    device.blocked_until = 0.3
    down = [b"command %d;" % number for number in range(30)]
    exchange(session, device, [], down, *links, random.Random(1))
    assert device.got == b"".join(down)
    assert device.overflowed == 0


# case L6: notifications before the answer to the subscription vanish
@given(st.integers(1, 4), st.lists(st.binary(min_size=1, max_size=80), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_first_chunks_that_vanish_cost_time_only(vanish: int, up: list[bytes]) -> None:
    class Early(BadLink):
        def push(self, chunk: bytes) -> None:
            if vanished:
                vanished.pop()
                return
            super().push(chunk)

    vanished, quiet = [0] * vanish, random.Random(1)
    session, device = make_session(), Device()
    got = exchange(session, device, up, [], BadLink(quiet), Early(quiet), random.Random(1))
    assert got == b"".join(up)


@given(
    st.randoms(use_true_random=False), st.integers(20, 250),
    st.lists(st.binary(min_size=1, max_size=RECORD_BYTES), max_size=8),
    st.lists(st.binary(min_size=1, max_size=RECORD_BYTES), max_size=8),
    st.floats(0, 0.2), st.floats(0, 0.2), st.integers(0, 4),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_messages_arrive_once_and_in_order_or_the_session_ends(
    chances: random.Random, size: int, up: list[bytes], down: list[bytes],
    loss: float, repeats: float, delays: int,
) -> None:  # fmt: skip
    session, device = make_session(size), Device(size)
    there, back = (BadLink(chances, loss, repeats, loss, delays) for _ in range(2))
    got = exchange(session, device, up, down, there, back, chances)
    if session.state is not ChunkSessionState.ENDED and not device.stream.failed:
        assert got == b"".join(up)
        assert device.got == b"".join(down)
    assert b"".join(up).startswith(got)
    assert b"".join(down).startswith(bytes(device.got))


pieces = st.one_of(
    st.binary(max_size=600),
    st.builds(
        lambda offset, ack, data: Chunk(NUMBER, offset, ack, data).encode(),
        st.integers(0, 65535), st.integers(0, 65535), st.binary(max_size=300),
    ),
    st.binary(max_size=60).map(lambda data: Chunk(NUMBER, 0, 0, b"\1\5dev-1" + data).encode()),
    st.builds(encode_end, st.integers(0, 255), st.integers(0, 255)),
)  # fmt: skip


@given(st.lists(pieces, max_size=30))
@settings(max_examples=300, deadline=None)
def test_anything_that_a_link_brings_is_survived_and_proves_nothing(chunks: list[bytes]) -> None:
    session = make_session()
    for number, chunk in enumerate(chunks):
        assert session.receive(chunk) == b""
        session.poll(number * 0.1)
    assert session.proved == ""


@given(st.lists(pieces, max_size=30))
@settings(max_examples=300, deadline=None)
def test_anything_that_a_link_brings_is_survived_by_a_device(chunks: list[bytes]) -> None:
    device = Device()
    for number, chunk in enumerate(chunks):
        DEVICE.decode_end(chunk, NUMBER)
        try:
            messages: Any = device.sealed.feed(device.stream.receive(chunk))
        except SEALED.ChunkError:
            return
        assert messages == []
        device.stream.poll(number * 100)
