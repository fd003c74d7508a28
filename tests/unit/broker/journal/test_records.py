import pytest

from broker.journal.errors import JournalError
from broker.journal.record_codec import decode_records, encode_records
from broker.journal.records import (
    Acknowledged,
    CaughtUp,
    Cleared,
    ClockRead,
    Completed,
    Ended,
    Freed,
    MessagesSent,
    Opened,
    Publisher,
    QueueEntry,
    ReceivedQos2,
    Record,
    Released,
    Renewed,
    SessionClosed,
    Stored,
    Subscribed,
    Unsubscribed,
    WillDelayed,
    WillEnded,
    WillHeld,
)
from broker.wire.packets import Subscription

ALL: list[Record] = [
    Opened(1, "client", "owner", ("a", "bä"), 5, 60.5),
    Renewed(1, "client", "", (), 4, 1e9),
    SessionClosed(1, 1.75e9),
    Ended(2),
    Subscribed(1, Subscription("a/+", 2, True, True, 2, (1, 268_435_455))),
    Subscribed(1, Subscription("a", 1), True),
    Unsubscribed(1, "a/#"),
    CaughtUp(1, "a/ö"),
    Stored(7, "t/ö", b"\x00\xff", b"\x02\x01\x01", 2, "me", 9.5, True,
           (QueueEntry(1, 2, True, (5, 6)), QueueEntry(2, 0))),
    Stored(8, "t", b"x", sender="me", is_retained=True, publisher=Publisher("c", ("a", "bä"))),
    Stored(9, "t", b"x", entries=(QueueEntry(1, 1),), publisher=Publisher("")),
    MessagesSent(1, ((7, 65_535), (8, 1))),
    Acknowledged(1, (7, 8)),
    Released(1, 7, 9),
    Completed(1, 9),
    ReceivedQos2(1, 3),
    Freed(1, 3),
    Cleared("t"),
    WillDelayed(1, 8, 1.5),
    WillEnded(1),
    ClockRead(1.5e9, 1.75e9),
    ClockRead(1.5e9, 1.75e9, 12.5, "4f0b"),
    WillHeld(1, 8, 2.5, True),
]  # fmt: skip


def test_there_and_back() -> None:
    assert decode_records(encode_records(ALL)) == ALL


@pytest.mark.parametrize("record", ALL, ids=lambda record: type(record).__name__)
def test_no_part_of_a_record_is_one(record: Record) -> None:
    encoded = encode_records([record])
    for size in range(1, len(encoded)):
        with pytest.raises(JournalError):
            decode_records(encoded[:size])


def test_nothing_is_nothing() -> None:
    assert decode_records(b"") == []
    assert encode_records([]) == b""


@pytest.mark.parametrize(
    "record",
    [
        Cleared("x" * 65_536),
        Cleared("\ud800"),
        Ended(1 << 32),
        Stored(-1, "t", b""),
        Stored(1 << 64, "t", b""),
        MessagesSent(1, ((1, 65_536),)),
    ],
)
def test_what_does_not_fit_is_an_error(record: Record) -> None:
    with pytest.raises(JournalError, match="cannot write record"):
        encode_records([record])


@pytest.mark.parametrize(
    "encoded",
    [
        b"\x00",
        b"\x11",
        encode_records([Cleared("ab")])[:-1] + b"\xff",  # not UTF-8
        encode_records([SessionClosed(1, float("nan"))]),
        encode_records([SessionClosed(1, float("inf"))]),
        encode_records([Stored(1, "t", b"", qos=3)]),
        encode_records([Subscribed(1, Subscription("a", 0, retain_handling=3))]),
    ],
)
def test_what_is_no_record_is_an_error(encoded: bytes) -> None:
    with pytest.raises(JournalError, match="cannot read record"):
        decode_records(encoded)
