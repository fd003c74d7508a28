"""Any records come back; any bytes are records or a JournalError; any cut leaves a prefix."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from broker.journal.errors import JournalError
from broker.journal.record_codec import decode_records, encode_records
from broker.journal.records import (
    Acknowledged,
    Cleared,
    Completed,
    Ended,
    Freed,
    MessagesSent,
    Opened,
    QueueEntry,
    ReceivedQos2,
    Record,
    Released,
    Renewed,
    SentSeries,
    SessionClosed,
    Stored,
    StoredSeries,
    Subscribed,
    Unsubscribed,
    WillDelayed,
    WillEnded,
    WillHeld,
)
from broker.journal.segments import HEAD, encode_batch, read_segment
from broker.journal.state import JournalState
from broker.wire.packets import Subscription
from tests.integration.broker.journal.model import describe

SESSION = st.integers(0, 0xFFFF_FFFF)
FEW = st.integers(1, 4)
MESSAGE = st.integers(0, 2**64 - 1)
PACKET = st.integers(0, 0xFFFF)
TIME = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
BYTES = st.binary(max_size=40)
SOME_BYTES = st.lists(BYTES, min_size=1, max_size=5)
QOS = st.integers(0, 2)
IDS = st.lists(st.integers(0, 0xFFFF_FFFF), max_size=3).map(tuple)
ENTRY = st.builds(QueueEntry, SESSION, QOS, st.booleans(), IDS)
ENTRIES = st.lists(
    st.builds(QueueEntry, FEW, QOS, st.booleans(), IDS), max_size=3, unique_by=lambda each: each[0]
).map(tuple)
IDENTITY = (TEXT, TEXT, st.lists(TEXT, max_size=3).map(tuple), st.integers(0, 255), TIME)
SUBSCRIPTION = st.builds(
    Subscription, TEXT, QOS, st.booleans(), st.booleans(), st.integers(0, 2), IDS
)


def records(session: st.SearchStrategy[int], message: st.SearchStrategy[int]) -> object:
    entry = st.builds(QueueEntry, session, QOS, st.booleans(), IDS)
    return st.one_of(
        st.builds(Opened, session, *IDENTITY),
        st.builds(Renewed, session, *IDENTITY),
        st.builds(SessionClosed, session, TIME),
        st.builds(Ended, session),
        st.builds(Subscribed, session, SUBSCRIPTION),
        st.builds(Unsubscribed, session, TEXT),
        st.builds(Stored, message, TEXT, BYTES, BYTES, QOS, TEXT, TIME, st.booleans(),
                  st.lists(entry, max_size=3).map(tuple)),
        st.builds(
            MessagesSent, session, st.lists(st.tuples(message, PACKET), max_size=3).map(tuple)
        ),
        st.builds(Acknowledged, session, st.lists(message, max_size=3).map(tuple)),
        st.builds(Released, session, message, PACKET),
        st.builds(Completed, session, PACKET),
        st.builds(ReceivedQos2, session, PACKET),
        st.builds(Freed, session, PACKET),
        st.builds(Cleared, TEXT),
        st.builds(WillDelayed, session, message, TIME),
        st.builds(WillEnded, session),
        st.builds(WillHeld, session, message, TIME),
    )  # fmt: skip


ANY: st.SearchStrategy[list[Record]] = st.lists(records(SESSION, MESSAGE), max_size=10)  # type: ignore[arg-type]  # builds() of many types
COLLIDING: st.SearchStrategy[list[Record]] = st.lists(records(FEW, FEW), max_size=40)  # type: ignore[arg-type]  # the same
MARKER = b"\x01marker\x02"
BATCHES = st.lists(st.lists(st.binary(min_size=1, max_size=30), max_size=4), max_size=6)


@given(ANY)
def test_records_come_back(given_records: list[Record]) -> None:
    assert decode_records(encode_records(given_records)) == given_records


@given(
    st.builds(StoredSeries, st.integers(1, 5), TEXT, SOME_BYTES, TEXT, ENTRIES),
    st.builds(SentSeries, FEW, FEW, st.lists(st.binary(min_size=2, max_size=2), max_size=4)),
    st.sets(FEW),
)
def test_a_series_is_what_is_read_of_it(
    stored: StoredSeries, sent: SentSeries, sessions: set[int]
) -> None:
    one, other = JournalState(), JournalState()
    for image in (one, other):
        for number in sorted(sessions):
            image.apply(Opened(number, f"c{number}", "o", (), 5, 60.0), 1)
        image.settle()
    written = decode_records(encode_records([stored, sent]))
    assert len(written) == len(stored.payloads) + 1
    for series in (stored, sent):
        one.apply(series, 2)
    for record in written:
        other.apply(record, 2)
    check(one)
    assert describe(one) == describe(other)
    assert (one.live, one.live_bytes) == (other.live, other.live_bytes)
    assert one.next_message_id == other.next_message_id


@given(st.binary(max_size=300))
def test_any_bytes_are_records_or_an_error(buffer: bytes) -> None:
    try:
        found = decode_records(buffer)
    except JournalError:
        return
    assert decode_records(encode_records(found)) == found


@given(ANY, st.data())
def test_damaged_records_are_records_or_an_error(
    given_records: list[Record], data: st.DataObject
) -> None:
    buffer = bytearray(encode_records(given_records))
    if buffer:
        buffer[data.draw(st.integers(0, len(buffer) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(JournalError):
        decode_records(bytes(buffer))


@given(COLLIDING, st.booleans())
def test_any_records_keep_the_image_consistent(given_records: list[Record], early: bool) -> None:
    image = JournalState()
    if early:
        image.settle()
    for number, record in enumerate(given_records):
        image.apply(record, number // 10)
        check(image)
    image.settle()
    check(image)
    for session_id in list(image.sessions):
        image.apply(Ended(session_id), 9)
    for topic in list(image.retained):
        image.apply(Cleared(topic), 9)
    assert not image.messages
    assert not image.bodies
    assert not +image.live
    assert image.live_bytes == 0


def check(image: JournalState) -> None:
    needed: dict[int, int] = {}
    for session in image.sessions.values():
        ids = [*session.queue, *([session.will[0]] if session.will else [])]
        for message_id in ids:
            needed[message_id] = needed.get(message_id, 0) + 1
    for message_id in image.retained.values():
        needed[message_id] = needed.get(message_id, 0) + 1
    kept = {message_id: each.refs for message_id, each in image.messages.items()}
    assert kept == {each: count for each, count in needed.items() if each in kept}
    assert image.bodies is not None
    assert image.bodies.keys() == image.messages.keys()
    homes: dict[int, int] = {}
    for item in (*image.sessions.values(), *image.messages.values()):
        homes[item.home] = homes.get(item.home, 0) + 1  # type: ignore[attr-defined]  # both have one
    assert +image.live == homes


def segment(batches: list[list[bytes]], *, synced: bool, marker: bytes = MARKER) -> bytes:
    return HEAD + b"".join(
        encode_batch(marker, serial, serial if synced else 0, groups)
        for serial, groups in enumerate(batches)
    )


@given(BATCHES, st.booleans(), st.data())
def test_any_cut_leaves_a_prefix(
    batches: list[list[bytes]], synced: bool, data: st.DataObject
) -> None:
    whole = segment(batches, synced=synced)
    size = data.draw(st.integers(0, len(whole)))
    others = [[bytes(each ^ 1 for each in body) for body in batch] for batch in batches]
    former = segment(others, synced=synced, marker=b"\x02former\x01")
    tail = data.draw(st.sampled_from((b"", bytes(50), b"\xa5" * 50, former[size:])))
    found = [each for each in read_segment(whole[:size] + tail, MARKER) if isinstance(each, bytes)]
    groups = [body for batch in batches for body in batch]
    assert found == groups[: len(found)]
    if size == len(whole):
        assert found == groups


@given(BATCHES, st.data())
def test_any_damage_of_unsynced_bytes_leaves_a_prefix(
    batches: list[list[bytes]], data: st.DataObject
) -> None:
    buffer = bytearray(segment(batches, synced=False))
    for _ in range(data.draw(st.integers(1, 3))):
        buffer[data.draw(st.integers(0, len(buffer) - 1))] ^= data.draw(st.integers(1, 255))
    found = [each for each in read_segment(bytes(buffer), MARKER) if isinstance(each, bytes)]
    groups = [body for batch in batches for body in batch]
    assert found == groups[: len(found)]


@given(st.lists(st.binary(min_size=1, max_size=30), min_size=2, max_size=8), st.data())
def test_one_damage_of_synced_bytes_costs_one_batch(
    bodies: list[bytes], data: st.DataObject
) -> None:
    buffer = bytearray(segment([[body] for body in bodies], synced=True))
    last = len(segment([[body] for body in bodies[:-1]], synced=True))
    buffer[data.draw(st.integers(len(HEAD), last - 1))] ^= data.draw(st.integers(1, 255))
    pieces = list(read_segment(bytes(buffer), MARKER))
    found = [each for each in pieces if isinstance(each, bytes)]
    assert len(found) == len(bodies) - 1
    assert len(pieces) > len(found)


@given(st.binary(max_size=500))
def test_any_bytes_can_be_read_as_a_segment(buffer: bytes) -> None:
    list(read_segment(buffer, MARKER))
