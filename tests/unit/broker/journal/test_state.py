from broker.journal.cleaning import SegmentCleaner, should_clean
from broker.journal.items import StoredWill, describe_session
from broker.journal.records import (
    Acknowledged,
    Cleared,
    ClockRead,
    Ended,
    MessagesSent,
    Opened,
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
)
from broker.journal.segments import SegmentName
from broker.journal.state import NOWHERE, JournalState
from broker.wire.packets import Subscription

MIB = 1024 * 1024


def opened(session_id: int, client_id: str = "") -> Opened:
    return Opened(session_id, client_id or f"c{session_id}", "owner", (), 5, 60.0)


def stored(message_id: int, *sessions: int, retained: bool = False, topic: str = "t") -> Stored:
    entries = tuple(QueueEntry(each, 1) for each in sessions)
    return Stored(message_id, topic, b"x", is_retained=retained, entries=entries)


def image_of(*records: Record, settle: bool = True) -> JournalState:
    image = JournalState()
    for record in records:
        image.apply(record, 1)
    if settle:
        image.settle()
    return image


def test_a_message_is_kept_until_the_last_session_has_it() -> None:
    image = image_of(opened(1), opened(2), stored(5, 1, 2))
    image.apply(Acknowledged(1, (5,)), 1)
    image.apply(Acknowledged(1, (5,)), 1)
    assert list(image.messages) == [5]
    image.apply(Acknowledged(2, (5,)), 1)
    assert not image.messages
    assert not image.bodies


# case B8
def test_the_last_clock_is_kept_and_copied() -> None:
    image = image_of(ClockRead(5.0, 9.0), ClockRead(7.0, 3.0), ClockRead(6.0, 9.0))
    assert image.clock == ClockRead(7.0, 3.0)
    copies = SegmentCleaner(image, SegmentName(1, bytes(4)), b"").step(1_000)
    assert copies == [[ClockRead(7.0, 3.0)]]


def test_a_message_nobody_needs_is_not_kept() -> None:
    image = image_of(stored(5))
    assert not image.messages
    assert image.next_message_id == 6


def test_a_retained_message_is_let_go_by_the_next_one_and_by_cleared() -> None:
    image = image_of(stored(1, retained=True), stored(2, retained=True))
    assert list(image.messages) == [2]
    image.apply(Cleared("t"), 1)
    image.apply(Cleared("t"), 1)
    assert not image.messages
    assert not image.retained


def test_a_replaced_retained_message_stays_for_sessions_that_wait_for_it() -> None:
    image = image_of(opened(1), stored(1, 1, retained=True), stored(2, retained=True))
    assert sorted(image.messages) == [1, 2]
    image.apply(Acknowledged(1, (1,)), 1)
    assert list(image.messages) == [2]


def test_the_end_of_a_session_lets_everything_go() -> None:
    image = image_of(
        opened(1), Subscribed(1, Subscription("a", 1)), stored(1, 1), stored(2, 1),
        WillDelayed(1, 3, 9.0), stored(3), Ended(1),
    )  # fmt: skip
    assert not image.sessions
    assert not image.messages
    assert not +image.live
    assert image.live_bytes == 0


def test_the_will_is_kept_until_it_ends_or_the_client_is_back() -> None:
    for end in (WillEnded(1), opened(1), WillDelayed(1, 4, 9.0)):
        image = image_of(opened(1), WillDelayed(1, 3, 9.0), stored(3))
        assert list(image.messages) == [3]
        image.apply(end, 1)
        assert 3 not in image.messages


def test_packet_ids_follow_the_message() -> None:
    image = image_of(opened(1), stored(1, 1), stored(2, 1), MessagesSent(1, ((1, 10), (9, 11))))
    session = image.sessions[1]
    assert session.queue == {1: 10, 2: 0}
    image.apply(Released(1, 1, 10), 1)
    assert session.queue == {2: 0}
    assert list(session.released) == [10]
    assert list(image.messages) == [2]


def test_settle_puts_the_queue_in_order_and_drops_what_was_never_opened() -> None:
    image = image_of(stored(9, 1), stored(3, 1, 2), SessionClosed(2, 5.0), opened(1), settle=False)
    assert image.settle() == 1
    assert list(image.sessions) == [1]
    assert list(image.sessions[1].queue) == [3, 9]
    image.apply(stored(10, 2), 1)
    assert 10 not in image.messages


def test_of_two_sessions_with_one_client_id_the_newer_stays() -> None:
    image = image_of(opened(4, "c"), stored(1, 4), opened(5, "c"))
    assert list(image.sessions) == [5]
    assert not image.messages


def test_a_will_whose_message_is_lost_is_dropped() -> None:
    assert image_of(opened(1), WillDelayed(1, 3, 9.0)).sessions[1].will is None


def test_copies_say_all_and_change_nothing_but_homes() -> None:
    image = image_of(
        opened(1), SessionClosed(1, 7.0), Subscribed(1, Subscription("a", 1)), ReceivedQos2(1, 4),
        Released(1, 0, 6), stored(1, 1, retained=True), MessagesSent(1, ((1, 10),)),
        WillDelayed(1, 3, 9.0), stored(3), Subscribed(1, Subscription("b", 1)),
        Unsubscribed(1, "b"),
    )  # fmt: skip
    size = image.live_bytes
    session = list(describe_session(image.sessions[1]))
    message, will = image.renew(stored(1, 1, 2, retained=True), 1), image.renew(stored(3), 1)
    assert session[0] == Renewed(1, "c1", "owner", (), 5, 60.0)
    assert message == [stored(1, 1, retained=True), MessagesSent(1, ((1, 10),))]
    fresh = JournalState()
    for record in (*session, *message, *will):
        image.apply(record, 2)
        fresh.apply(record, 2)
    fresh.settle()
    assert image.renew(stored(1, 1), 1) == []
    for each in (image, fresh):
        assert +each.live == {2: 3}
        assert each.live_bytes == size
        assert list(describe_session(each.sessions[1])) == session
        assert each.sessions[1].queue == {1: 10}
        assert each.retained == {"t": 1}


def test_the_copy_of_a_will_is_kept_before_the_next_copy_of_its_session() -> None:
    """Segments 2 and 3 hold the copies; 2 is cleaned first, the session is in 4 then."""
    will = WillDelayed(1, 3, 9.0)
    image = image_of(opened(1), will, stored(3))
    log: dict[int, list[Record]] = {2: list(describe_session(image.sessions[1]))}
    log[3] = image.renew(stored(3), 1)
    for number in (2, 3):
        for record in log[number]:
            image.apply(record, number)
    log[4] = list(describe_session(image.sessions[1]))
    again = image_of(*log[3], *log[4])
    assert again.sessions[1].will == StoredWill(3, 9.0, retain=False)
    assert list(again.messages) == [3]
    assert not image_of(*log[3], *log[4], Ended(1)).messages


def test_what_is_no_longer_needed_has_no_copy() -> None:
    image = image_of(opened(1), stored(1, 1), Acknowledged(1, (1,)))
    assert image.renew(stored(1, 1), 1) == []


def test_what_cannot_be_read_any_more_is_nowhere() -> None:
    image = image_of(opened(1), stored(1, 1))
    assert image.abandon(1) == 2
    assert image.live[NOWHERE] == 2
    assert image.abandon(1) == 0
    image.apply(Ended(1), 1)
    assert not +image.live


def test_the_log_is_cleaned_when_half_of_it_is_waste() -> None:
    assert not should_clean(3 * MIB, MIB, 3, MIB)
    assert should_clean(5 * MIB, MIB, 5, MIB)
    assert not should_clean(200 * MIB, 100 * MIB, 200, MIB)


def test_many_small_segments_are_joined() -> None:
    assert not should_clean(100, 0, 20, MIB)
    assert should_clean(100, 0, 40, MIB)
