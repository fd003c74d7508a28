"""Streams and records over links that lose, repeat, reorder, spoil and cut chunks."""

import binascii
import contextlib
import json
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.chunks.records import RecordError, SecureStream, shared_key
from protocol.chunks.stream import QUEUE_BYTES, TRIES, WINDOW_BYTES, WINDOW_CHUNKS, ReliableStream
from protocol.chunks.wire import (
    MAX_CHUNK,
    MIN_CHUNK,
    OVERHEAD,
    Chunk,
    CobsDecoder,
    decode_chunk,
    encode_cobs,
)
from tests.programs import ROOT

SESSION = 7
STEP_S = 0.05
KEY = shared_key(b"the token of a device")


def aes(key: bytes, mode: int) -> Any:
    """Stand for MicroPython's cryptolib, where the device's side runs in this interpreter."""
    assert mode == 1
    return Cipher(algorithms.AES128(key), modes.ECB()).encryptor()


def device_modules() -> Any:
    """Return the device's modules in this interpreter."""
    micropython = sys.modules.setdefault("micropython", ModuleType("micropython"))
    micropython.const = lambda value: value  # type: ignore[attr-defined]
    cryptolib = ModuleType("cryptolib")

    class Aes:
        def __init__(self, key: bytes, mode: int) -> None:
            self.encrypt = aes(key, mode).update

    cryptolib.aes = Aes  # type: ignore[attr-defined]
    sys.modules["cryptolib"] = cryptolib
    import device.chunks
    import device.sealed

    return device.chunks, device.sealed


DEVICE, SEALED = device_modules()


class DeviceStream:
    """The device's stream, with the interface and the clock of ours."""

    def __init__(self, session: int, chunk_bytes: int) -> None:
        self._stream = DEVICE.ChunkStream(session, chunk_bytes)
        self.send, self.receive = self._stream.send, self._stream.receive

    def poll(self, now: float) -> list[bytes]:
        found: list[bytes] = self._stream.poll(round(now * 1000))
        return found

    @property
    def is_idle(self) -> bool:
        return bool(self._stream.is_idle())

    @property
    def failed(self) -> bool:
        return bool(self._stream.failed)

    @property
    def chunk_bytes(self) -> int:
        return int(self._stream.chunk_bytes)


Stream = ReliableStream | DeviceStream
MAKERS: list[Callable[[int, int], Stream]] = [ReliableStream, DeviceStream]


@dataclass
class BadLink:
    """A link that passes chunks one way, as a generator of chances says."""

    chances: random.Random
    loss: float = 0.0
    repeats: float = 0.0
    spoils: float = 0.0
    delays: int = 0  # steps that a chunk may wait
    carries: int = MAX_CHUNK  # larger chunks are cut, silently

    def __post_init__(self) -> None:
        self._waiting: list[tuple[int, bytes]] = []

    def push(self, chunk: bytes) -> None:
        for _ in range(2 if self.chances.random() < self.repeats else 1):
            if self.chances.random() < self.loss:
                continue
            octets = bytearray(chunk[: self.carries])
            if self.chances.random() < self.spoils:
                octets[self.chances.randrange(len(octets))] ^= 1 << self.chances.randrange(8)
            self._waiting.append((self.chances.randint(0, self.delays), bytes(octets)))

    def pull(self) -> list[bytes]:
        ready = [chunk for steps, chunk in self._waiting if steps == 0]
        self._waiting = [(steps - 1, chunk) for steps, chunk in self._waiting if steps]
        return ready


def carry(one: Stream, other: Stream, there: BadLink, back: BadLink, steps: int = 20_000) -> Any:
    """Let both ends talk until all has passed; return what arrived at each."""
    at_one, at_other, now = bytearray(), bytearray(), 0.0
    for _ in range(steps):
        for chunk in one.poll(now):
            there.push(chunk)
        for chunk in there.pull():
            at_other += other.receive(chunk)
        for chunk in other.poll(now):
            back.push(chunk)
        for chunk in back.pull():
            at_one += one.receive(chunk)
        if (one.is_idle and other.is_idle) or one.failed or other.failed:
            break
        now += STEP_S
    return bytes(at_one), bytes(at_other)


ends = st.tuples(st.sampled_from(MAKERS), st.sampled_from(MAKERS))


@given(
    ends, st.randoms(use_true_random=False), st.integers(MIN_CHUNK, 300),
    st.binary(max_size=1500), st.binary(max_size=1500),
    st.floats(0, 0.3), st.floats(0, 0.3), st.integers(0, 4),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_all_bytes_arrive_once_and_in_order(  # case L6, case L7
    ends: Any, chances: random.Random, size: int, up: bytes, down: bytes,
    loss: float, repeats: float, delays: int,
) -> None:  # fmt: skip
    one, other = (make(SESSION, size) for make in ends)
    assert one.send(up)
    assert other.send(down)
    there, back = (BadLink(chances, loss, repeats, loss, delays) for _ in range(2))
    at_one, at_other = carry(one, other, there, back)
    if not (one.failed or other.failed):  # TRIES losses in a row end a link
        assert (at_one, at_other) == (down, up)
    assert up.startswith(at_other)
    assert down.startswith(at_one)


@pytest.mark.parametrize("make", MAKERS)
def test_offsets_go_round(make: Callable[[int, int], Stream]) -> None:
    one, other, sent, got = make(SESSION, 512), make(SESSION, 512), bytearray(), bytearray()
    chances = random.Random(4)
    for _ in range(40):  # 160 KiB, more than twice all offsets
        part = chances.randbytes(4096)
        assert one.send(part)
        sent += part
        there, back = (BadLink(chances, 0.02, 0.02, 0.02, 2) for _ in range(2))
        got += carry(one, other, there, back)[1]
    assert got == sent


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("carries", [20, 23, 100])
def test_a_link_that_carries_less_than_it_says_is_found_out(
    make: Callable[[int, int], Stream], carries: int
) -> None:
    one, other, data = make(SESSION, 244), make(SESSION, 244), bytes(range(256)) * 8
    assert one.send(data)
    chances = random.Random(1)
    _, arrived = carry(one, other, BadLink(chances, carries=carries), BadLink(chances))
    assert arrived == data
    assert MIN_CHUNK <= one.chunk_bytes <= carries


@pytest.mark.parametrize("make", MAKERS)
def test_what_was_taken_back_for_smaller_chunks_may_have_arrived(
    make: Callable[[int, int], Stream],
) -> None:
    stream = make(SESSION, 244)
    assert stream.send(bytes(900))
    assert len(stream.poll(0.0)) == WINDOW_CHUNKS
    for now in (1.0, 2.0):  # case L7: the device is busy, and its acknowledgement is late
        stream.poll(now)
    assert stream.chunk_bytes < 244
    stream.receive(Chunk(SESSION, 0, 900).encode())
    assert stream.is_idle
    assert stream.poll(9.0) == []


@pytest.mark.parametrize("make", MAKERS)
def test_losses_by_chance_do_not_make_chunks_small_for_ever(
    make: Callable[[int, int], Stream],
) -> None:
    one, other = make(SESSION, 244), make(SESSION, 244)
    assert one.send(bytes(500))
    for now in (0.0, 1.0, 2.0):
        one.poll(now)
    assert one.chunk_bytes < 244
    good = random.Random(1)
    assert one.send(bytes(8000 - 500))
    carry(one, other, BadLink(good), BadLink(good))
    assert one.chunk_bytes == 244


@pytest.mark.parametrize("make", MAKERS)
def test_the_window_is_below_the_queue_of_a_device(make: Callable[[int, int], Stream]) -> None:
    stream = make(SESSION, 100)  # case L7
    assert stream.send(bytes(5000))
    assert len(stream.poll(0.0)) == WINDOW_CHUNKS
    assert stream.poll(0.1) == []
    assert not stream.send(bytes(QUEUE_BYTES))


@pytest.mark.parametrize("make", MAKERS)
def test_a_dead_link_is_given_up(make: Callable[[int, int], Stream]) -> None:
    stream = make(SESSION, MIN_CHUNK)
    stream.send(b"x")
    sent = sum(len(stream.poll(0.1 * step)) for step in range(2000))
    assert stream.failed
    assert sent == TRIES


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("ack", [2, 1000, 40_000, 65_535])
def test_an_acknowledgement_of_what_was_not_sent_changes_nothing(
    make: Callable[[int, int], Stream], ack: int
) -> None:
    stream = make(SESSION, MIN_CHUNK)
    stream.send(b"x")
    stream.poll(0.0)
    stream.receive(Chunk(SESSION, 0, ack).encode())
    assert not stream.is_idle
    assert len(stream.poll(1.0)) == 1
    stream.receive(Chunk(SESSION, 0, 1).encode())
    assert stream.is_idle


@given(ends, st.lists(st.binary(max_size=600), max_size=30))
@settings(max_examples=100, deadline=None)
def test_anything_from_the_link_is_survived(ends: Any, chunks: list[bytes]) -> None:
    one, other = (make(SESSION, 100) for make in ends)
    for octets in chunks:
        body = bytes((SESSION,)) + octets  # with a right checksum, as an attacker makes it
        one.receive(body + binascii.crc_hqx(body, 0xFFFF).to_bytes(2))
        one.receive(octets)
        one.poll(0.0)
    assert other.poll(0.0) == []


def test_a_flood_of_early_chunks_is_bounded() -> None:
    stream = ReliableStream(SESSION, 100)
    for offset in range(1, WINDOW_BYTES):
        stream.receive(Chunk(SESSION, offset, 0, bytes(400)).encode())
    assert sum(map(len, stream._early.values())) <= WINDOW_BYTES


@given(st.binary(max_size=MAX_CHUNK - OVERHEAD), st.integers(0, 255), st.integers(0, 65535))
def test_chunks_are_the_same_on_both_sides(data: bytes, session: int, offset: int) -> None:
    chunk = Chunk(session, offset, 65535 - offset, data)
    assert DEVICE.encode_chunk(session, offset, 65535 - offset, data) == chunk.encode()
    assert decode_chunk(chunk.encode()) == chunk
    assert len(chunk.encode()) == len(data) + OVERHEAD


@given(st.lists(st.binary(min_size=OVERHEAD, max_size=MAX_CHUNK), max_size=8), st.integers(1, 50))
def test_chunks_have_edges_on_a_serial_line(chunks: list[bytes], size: int) -> None:
    line = b"noise before" + b"".join(encode_cobs(chunk) for chunk in chunks)
    decoder, found = CobsDecoder(), list[bytes]()
    for at in range(0, len(line), size):
        found += decoder.feed(line[at : at + size])
    assert found[len(found) - len(chunks) :] == chunks


@given(st.binary(max_size=2000))
def test_noise_on_a_serial_line_is_survived(noise: bytes) -> None:
    decoder = CobsDecoder()
    decoder.feed(noise)
    decoder.feed(bytes(1))
    assert decoder.feed(encode_cobs(b"a chunk")) == [b"a chunk"]


# records -------------------------------------------------------------------------------


def joined(key: bytes = KEY, *, device: bool = True) -> tuple[Any, SecureStream]:
    """Return both ends after their hellos."""
    keys = {b"dev-1": KEY}
    accepting = SecureStream(b"a" * 16, find_key=keys.get)
    connecting: Any = SecureStream(b"c" * 16, name=b"dev-1", key=key)
    if device:
        connecting = SEALED.SealedStream(b"c" * 16, b"dev-1", key)
    assert accepting.feed(connecting.hello()) == []
    assert connecting.feed(accepting.hello()) == []
    return connecting, accepting


@given(st.lists(st.binary(max_size=4096), max_size=6), st.integers(1, 700), st.booleans())
@settings(max_examples=60, deadline=None)
def test_messages_pass_both_ways(messages: list[bytes], size: int, device: bool) -> None:
    connecting, accepting = joined(device=device)
    for one, other in ((connecting, accepting), (accepting, connecting)):
        octets = b"".join(one.encode(message) for message in messages)
        found = [
            m for at in range(0, len(octets), size) for m in other.feed(octets[at : at + size])
        ]
        assert found == messages
    assert accepting.peer_name == b"dev-1"


@given(st.integers(0, 10_000), st.integers(1, 255), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_changed_record_ends_the_stream(at: int, change: int, device: bool) -> None:
    connecting, accepting = joined(device=device)
    for one, other in ((connecting, accepting), (accepting, connecting)):
        record = bytearray(one.encode(b"open the door"))
        record[at % len(record)] ^= change
        with contextlib.suppress(RecordError, SEALED.ChunkError):
            assert other.feed(bytes(record)) == []  # a length that grew waits for the rest


def test_a_record_is_good_once() -> None:
    connecting, accepting = joined()
    record = connecting.encode(b"open")
    assert accepting.feed(record) == [b"open"]
    with pytest.raises(RecordError):
        accepting.feed(record)
    _, later = joined()
    fresh = SecureStream(b"b" * 16, find_key={b"dev-1": KEY}.get)
    fresh.feed(connecting.hello())
    with pytest.raises(RecordError):  # another nonce: a recording opens nothing
        fresh.feed(record)
    assert later.is_ready


def test_a_peer_without_the_key_is_found_out_by_the_first_message() -> None:
    thief, accepting = joined(key=shared_key(b"a guess"))
    with pytest.raises(RecordError, match="does not have the key"):
        accepting.feed(thief.encode(b"open"))
    with pytest.raises(SEALED.ChunkError):
        thief.feed(accepting.encode(b"welcome"))
    with pytest.raises(RecordError, match="not known"):
        SecureStream(b"a" * 16, find_key=lambda _: None).feed(thief.hello())
    with pytest.raises(RecordError, match="another version"):
        SecureStream(b"a" * 16, find_key=lambda _: None).feed(b"\x02\x00")


def test_what_is_sent_cannot_be_read() -> None:
    connecting, _ = joined()
    records = [connecting.encode(b"the same message") for _ in range(2)]
    assert records[0] != records[1]
    assert b"the same message" not in records[0] + records[1]


def test_the_vectors_of_both_sides() -> None:
    vectors = json.loads((ROOT / "tests/vectors/chunks.json").read_text())
    for v in vectors["chunks"]:
        chunk = Chunk(v["session"], v["offset"], v["ack"], bytes.fromhex(v["data"]))
        assert chunk.encode().hex() == v["chunk"]
    v, key = vectors["records"], bytes.fromhex(vectors["records"]["key"])
    connecting = SecureStream(bytes.fromhex(v["nonce"]), name=v["name"].encode(), key=key)
    accepting = SecureStream(b"a" * 16, find_key={v["name"].encode(): key}.get)
    assert connecting.hello().hex() == v["hello"]
    assert accepting.hello().hex() == v["answer"]
    connecting.feed(accepting.hello())
    accepting.feed(connecting.hello())
    messages = [bytes.fromhex(message) for message in v["messages"]]
    assert [connecting.encode(message).hex() for message in messages] == v["records"]
    assert [accepting.encode(message).hex() for message in messages] == v["replies"]
