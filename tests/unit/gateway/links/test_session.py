import hashlib

import pytest

from gateway.links.keys import LinkKey
from gateway.links.session import (
    ENDING_S,
    HANDSHAKE_S,
    RECORD_BYTES,
    ChunkSession,
    ChunkSessionState,
)
from protocol.chunks.records import SecureStream
from protocol.chunks.stream import QUEUE_BYTES, TRIES, ReliableStream
from protocol.chunks.wire import MIN_CHUNK, Chunk, SessionEnd, decode_chunk, decode_end

KEY = hashlib.sha256(b"a token").digest()
NUMBER = 9


def make_session(now: float = 0.0) -> ChunkSession:
    def find_key(name: bytes) -> LinkKey | None:
        return LinkKey("dev-1", KEY) if name == b"dev-1" else None

    return ChunkSession(NUMBER, 100, b"g" * 16, find_key, now)


class Device:
    """The other end: both streams."""

    def __init__(self, key: bytes = KEY, name: bytes = b"dev-1", nonce: bytes = b"d" * 16) -> None:
        self.stream = ReliableStream(NUMBER, 100)
        self.secure = SecureStream(nonce, name=name, key=key)
        self.stream.send(self.secure.hello())
        self.sent: list[bytes] = []

    def talk(self, session: ChunkSession, now: float = 0.0) -> bytes:
        """Pass chunks both ways until nothing moves; return the bytes that the session gave."""
        got = b""
        for _ in range(200):
            mine, theirs = self.stream.poll(now), session.poll(now)
            self.sent += mine
            got += b"".join(session.receive(chunk) for chunk in mine)
            for chunk in theirs:
                for message in self.secure.feed(self.stream.receive(chunk)):
                    self.received.append(message)
            if not mine and not theirs:
                break
        return got

    received: list[bytes]

    def say(self, message: bytes) -> None:
        assert self.stream.send(self.secure.encode(message))


def opened() -> tuple[ChunkSession, Device]:
    session, device = make_session(), Device()
    device.received = []
    device.talk(session)
    device.say(b"first")
    assert device.talk(session) == b"first"
    return session, device


def end_of(session: ChunkSession, now: float = 0.0) -> tuple[int, int] | None:
    chunk = decode_chunk(session.poll(now)[-1])
    return decode_end(chunk) if chunk is not None else None


def test_a_session_is_open_with_the_first_good_record() -> None:
    session, device = make_session(), Device()
    device.received = []
    assert device.talk(session) == b""
    assert (session.state, session.proved, session.room) == (ChunkSessionState.PROVING, "", 0)
    device.say(b"hello")
    assert device.talk(session) == b"hello"
    assert (session.state, session.proved) == (ChunkSessionState.OPEN, "dev-1")
    session.send(b"x" * (RECORD_BYTES + 1))
    device.talk(session)
    assert device.received == [b"x" * RECORD_BYTES, b"x"]


@pytest.mark.parametrize("name", [b"dev-2", b"", b"\xff" * 64])
def test_a_name_without_a_key_is_refused_before_anything_is_told(name: bytes) -> None:
    session, device = make_session(), Device(name=name)
    for chunk in device.stream.poll(0.0):
        session.receive(chunk)
    chunks = [decode_chunk(each) for each in session.poll(0.0)]
    assert [decode_end(each) for each in chunks if each is not None and each.data] == [
        (NUMBER, SessionEnd.REFUSED)
    ]
    assert (session.state, session.reason) == (ChunkSessionState.ENDED, SessionEnd.REFUSED)


def test_a_key_that_is_not_the_one_proves_nothing() -> None:
    session, device = make_session(), Device(key=b"k" * 32)
    device.received = []
    device.talk(session)
    device.say(b"hello")
    assert device.talk(session) == b""
    assert (session.state, session.reason) == (ChunkSessionState.ENDED, SessionEnd.REFUSED)


def test_a_recording_of_an_earlier_session_proves_nothing() -> None:
    _, device = opened()
    session = ChunkSession(NUMBER, 100, b"G" * 16, lambda _: LinkKey("dev-1", KEY), 0.0)
    for chunk in device.sent:
        assert session.receive(chunk) == b""
    assert (session.state, session.proved) == (ChunkSessionState.ENDED, "")


def test_a_record_that_was_changed_or_repeated_ends_the_session() -> None:
    for spoil in (lambda r: r[:-1] + bytes((r[-1] ^ 1,)), lambda r: r + r, lambda _: b"\xff" * 40):
        session, device = opened()
        device.stream.send(spoil(device.secure.encode(b"open the door")))
        got = device.talk(session)
        assert got in (b"", b"open the door")  # the first of two that are the same is good
        assert (session.state, session.reason) == (ChunkSessionState.ENDED, SessionEnd.REFUSED)


def test_a_handshake_that_does_not_end_is_cut() -> None:
    session = make_session(now=5.0)
    assert session.next_due() == 5.0 + HANDSHAKE_S
    session.poll(5.0 + HANDSHAKE_S - 0.1)
    assert session.state is ChunkSessionState.OPENING
    assert end_of(session, 5.0 + HANDSHAKE_S) == (NUMBER, SessionEnd.CLOSED)


def test_what_was_queued_arrives_before_the_end() -> None:
    session, device = opened()
    session.send(b"not accepted")
    session.close(0.0)
    assert session.state is ChunkSessionState.ENDING
    device.talk(session)
    assert device.received == [b"not accepted"]
    assert session.state.value == "ended"


def test_an_end_waits_for_a_silent_device_for_a_while_only() -> None:
    session, _ = opened()
    session.send(b"bye")
    session.close(0.0)
    session.poll(ENDING_S - 0.1)
    assert session.state is ChunkSessionState.ENDING
    assert end_of(session, ENDING_S) == (NUMBER, SessionEnd.CLOSED)


def test_a_device_that_acknowledges_nothing_is_given_up() -> None:
    session, _ = opened()
    session.send(b"command")
    sent = [len(session.poll(0.1 * step)) for step in range(1000)]
    assert session.state is ChunkSessionState.ENDED
    assert sum(sent) <= 3 * TRIES  # it is cut into smaller ones on the way


def test_no_more_is_queued_than_there_is_room_for() -> None:
    session, _ = opened()
    queued = 0
    while session.room:
        session.send(bytes(min(session.room, 3000)))
        queued += 3000
        assert queued < 10 * QUEUE_BYTES
    with pytest.raises(ValueError, match="room for 0"):
        session.send(b"x")


def test_an_ended_session_says_so_once_and_takes_nothing() -> None:
    session, device = opened()
    session.end("revoked")
    session.end("again")
    assert session.why_ended == "revoked"
    assert len(session.poll(0.0)) == 1
    assert session.poll(0.0) == []
    assert session.next_due() is None
    device.say(b"more")
    assert b"".join(session.receive(each) for each in device.stream.poll(0.0)) == b""


def chunks_of(device: Device) -> list[Chunk]:
    """Return what a device that was reset sends first, of a session with the same number."""
    return [chunk for octets in device.stream.poll(0.0) if (chunk := decode_chunk(octets))]


def test_the_hello_of_another_run_is_told_from_a_repetition_of_ours() -> None:
    session, device = opened()
    hello = decode_chunk(device.sent[0])
    assert hello is not None
    assert not session.is_contradicted_by(hello)
    (again,) = chunks_of(Device(nonce=b"e" * 16))
    assert session.is_contradicted_by(again)
    small = Device(nonce=b"e" * 16)
    small.stream = ReliableStream(NUMBER, MIN_CHUNK)
    small.stream.send(small.secure.hello())
    assert any(session.is_contradicted_by(chunk) for chunk in chunks_of(small))


def test_offsets_that_have_gone_round_contradict_nothing() -> None:
    session, device = opened()
    (again,) = chunks_of(Device(nonce=b"e" * 16))
    for number in range(66_000 // 500):
        device.say(bytes((number,)) * 490)
        assert len(device.talk(session)) == 490
        sent = [chunk for octets in device.sent if (chunk := decode_chunk(octets))]
        assert not any(session.is_contradicted_by(chunk) for chunk in sent[-6:])
        device.sent.clear()
    for number in range(5_000 // 500):
        device.say(bytes((number,)) * 490)
        device.talk(session)
    assert session.is_contradicted_by(again)
