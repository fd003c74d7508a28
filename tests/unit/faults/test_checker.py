"""The history checker: a history that keeps all promises, and one broken in each way."""

from collections.abc import Sequence

import pytest

from tests.faults.checker import check, describe
from tests.faults.events import (
    FOREVER,
    Completed,
    Connected,
    Connecting,
    Event,
    Got,
    Killed,
    Lost,
    Read,
    Reading,
    Released,
    Sent,
    Started,
    Subscribed,
    Subscribing,
    Taken,
    Unsubscribed,
    Unsubscribing,
    WillSet,
)


def online(client: str, epoch: int = 1, *, present: bool = False, clean: bool = False,
           at: float = 0.0) -> list[Event]:  # fmt: skip
    return [
        Connecting(client, epoch, clean, FOREVER, at),
        Connected(client, epoch, present, at),
    ]


def lost(client: str, epoch: int = 1, at: float = 0.0, *, polite: bool = False) -> Event:
    return Lost(client, epoch, polite, at)


def subscribed(client: str, topic_filter: str = "t/#", qos: int = 2) -> list[Event]:
    return [Subscribing(client, topic_filter, qos), Subscribed(client, topic_filter, qos)]


def sent(number: int, qos: int = 1, *, topic: str = "t/1", retain: bool = False, size: int = 40,
         again: bool = False) -> Event:  # fmt: skip
    return Sent("p", number, topic, qos, retain, number, size, again)


def taken(number: int, *, refused: bool = False) -> Event:
    return Taken("p", number, number, refused)


def done(number: int) -> list[Event]:
    return [taken(number), Completed("p", number, number)]


def got(number: int, qos: int = 1, *, epoch: int = 1, packet_id: int = 0, again: bool = False,
        topic: str = "t/1", whole: bool = True) -> Event:  # fmt: skip
    return Got("s", epoch, "p", number, topic, qos, packet_id or number, again, False, whole)


READY = [*online("p"), *online("s"), *subscribed("s")]


def rules(*events: Event | Sequence[Event], end: float = float("inf")) -> set[str]:
    flat: list[Event] = []
    for each in events:
        if isinstance(each, list):
            flat += each
        else:
            flat.append(each)  # type: ignore[arg-type]  # an event is a tuple, never a list
    return {finding.rule for finding in check(flat, end=end)}


def test_all_kept() -> None:
    assert not rules(
        READY, sent(1), taken(1), got(1), sent(2, 2), got(2, 2), done(2), Released("s", 2),
        sent(3), Killed(1), lost("s"), lost("p"), Started(2),
        online("p", 2, present=True), sent(3, again=True), taken(3),
        online("s", 2, present=True), got(3, epoch=2), got(3, epoch=2, packet_id=4),
    )  # fmt: skip


# -- lost


def test_acknowledged_and_never_delivered() -> None:
    assert rules(READY, sent(1), taken(1)) == {"lost"}
    assert rules(READY, sent(1, 2), taken(1)) == {"lost"}


def test_not_acknowledged_is_not_promised() -> None:
    assert not rules(READY, sent(1))
    assert not rules(READY, sent(1), taken(1, refused=True))


def test_a_session_away_must_get_it_too() -> None:
    away = [*READY, lost("s")]
    assert rules(away, sent(1), taken(1)) == {"lost"}
    assert rules(away, sent(1), taken(1), online("s", 2, present=True)) == {"lost"}
    assert not rules(away, sent(1), taken(1), online("s", 2, present=True), got(1, epoch=2))


def test_nothing_is_promised_before_suback_nor_after_unsubscribe() -> None:
    begun = [*online("p"), *online("s"), Subscribing("s", "t/#", 2)]
    assert not rules(begun, sent(1), taken(1), Subscribed("s", "t/#", 2))
    assert rules(begun, Subscribed("s", "t/#", 2), sent(1), taken(1)) == {"lost"}
    assert not rules(begun, Subscribed("s", "t/#", 0x80), sent(1), taken(1))
    assert not rules(begun, Subscribed("s", "t/#", 0), sent(1), taken(1))
    assert not rules(READY, Unsubscribing("s", "t/#"), sent(1), taken(1))


def test_a_client_with_a_clean_start_is_promised_nothing_old() -> None:
    assert not rules(READY, sent(1), taken(1), lost("s"), online("s", 2, clean=True))


def test_a_session_that_is_not_stored_is_promised_nothing() -> None:
    passing = [Connecting("s", 1, True, 0.0), Connected("s", 1, False, 0.0), *subscribed("s")]
    assert not rules(online("p"), passing, sent(1), taken(1))


# -- twice


def test_qos_2_comes_once() -> None:
    start = [*READY, sent(1, 2), *done(1), got(1, 2)]
    assert not rules(start, got(1, 2))  # the same packet id, not released: the client knows it
    assert rules(start, got(1, 2, packet_id=9)) == {"twice"}
    assert rules(start, Released("s", 1), got(1, 2, again=True)) == {"twice"}
    reconnected = [*start, lost("s"), *online("s", 2, present=True)]
    assert not rules(reconnected, got(1, 2, epoch=2, again=True))
    assert rules(reconnected, got(1, 2, epoch=2, packet_id=9)) == {"twice"}


def test_qos_2_sent_again_comes_once() -> None:
    start = [*READY, sent(1, 2), got(1, 2), Released("s", 1), lost("p")]
    again = [*online("p", 2, present=True), sent(1, 2, again=True), *done(1)]
    assert not rules(start, again)
    assert rules(start, again, got(1, 2, packet_id=2)) == {"twice"}


def test_two_filters_may_bring_two_copies() -> None:
    both = [*READY, *subscribed("s", "t/+"), sent(1, 2), *done(1)]
    assert not rules(both, got(1, 2), got(1, 2, packet_id=2))
    assert rules(both, got(1, 2), got(1, 2, packet_id=2), got(1, 2, packet_id=3)) == {"twice"}


def test_a_new_session_begins_to_count_anew() -> None:
    anew = [lost("s"), *online("s", 2, clean=True), *subscribed("s")]
    again = [lost("p"), *online("p", 2, present=True), sent(1, 2, again=True), *done(1)]
    assert not rules(READY, sent(1, 2), got(1, 2), anew, again, got(1, 2, epoch=2, packet_id=2))
    other = [sent(2, 2), *done(2), got(2, 2, epoch=2, packet_id=1)]
    start = [*READY, sent(1, 2), *done(1), got(1, 2), *anew, *other]
    assert not rules(start)
    assert rules(start, got(2, 2, epoch=2, packet_id=5)) == {"twice"}


def test_a_retained_message_may_be_one_that_came_already() -> None:
    event = Got("s", 1, "p", 1, "t/1", 2, 7, False, True, True)
    assert not rules(READY, sent(1, 2), *[done(1)], got(1, 2), event)


# -- repeated, unmarked


def test_qos_1_is_not_repeated_on_one_connection() -> None:
    start = [*READY, sent(1), taken(1), got(1)]
    assert rules(start, got(1, packet_id=2)) == {"repeated"}
    reconnected = [*start, lost("s"), *online("s", 2, present=True)]
    assert not rules(reconnected, got(1, epoch=2, again=True))
    assert rules(reconnected, got(1, epoch=2, again=True), got(1, epoch=2)) == {"repeated"}


def test_what_was_sent_twice_may_come_twice() -> None:
    start = [*READY, sent(1), lost("p"), *online("p", 2, present=True), sent(1, again=True)]
    assert not rules(start, taken(1), got(1), got(1, packet_id=2))
    assert rules(start, taken(1), got(1), got(1, packet_id=2), got(1, packet_id=3)) == {"repeated"}


def test_a_repetition_is_marked_unless_the_broker_was_killed() -> None:
    start = [*READY, sent(1), taken(1), got(1), lost("s")]
    back = online("s", 2, present=True)
    assert rules(start, back, got(1, epoch=2)) == {"unmarked"}
    assert not rules(start, Killed(1), Started(2), back, got(1, epoch=2))
    read_late = [*READY, sent(1), taken(1), Killed(1), got(1), lost("s")]
    assert not rules(read_late, Started(2), back, got(1, epoch=2))


# -- order


def test_order_of_one_topic() -> None:
    start = [*READY, sent(1), taken(1), sent(2), taken(2)]
    assert not rules(start, got(1), got(2))
    assert rules(start, got(2), got(1)) == {"order"}


def test_order_does_not_bind_topics_nor_repetitions() -> None:
    two = [*READY, sent(1), taken(1), sent(2, topic="t/2"), taken(2)]
    assert not rules(two, got(2, topic="t/2"), got(1))
    one = [*READY, sent(1), taken(1), sent(2), taken(2), got(1), got(2), lost("s")]
    back = online("s", 2, present=True)
    assert not rules(one, back, got(1, epoch=2, again=True), got(2, epoch=2, again=True))


def test_order_binds_what_was_sent_again_unless_it_was_before_the_subscription() -> None:
    back = [lost("p"), *online("p", 2, present=True)]
    first = [*online("p"), *online("s"), sent(1)]
    late = [*first, *subscribed("s"), sent(2), got(2), *back, sent(1, again=True)]
    assert not rules(late, taken(1), got(1))
    soon = [*READY, sent(1), sent(2), got(2), *back, sent(1, again=True)]
    assert rules(soon, taken(1), got(1)) == {"order"}


# -- retained


def read(number: int) -> list[Event]:
    return [Reading("r"), Read("r", "t/1", "p" if number else "", number)]


def test_the_last_acknowledged_is_retained() -> None:
    start = [*online("p"), sent(1, retain=True), taken(1), sent(2, retain=True), taken(2)]
    assert not rules(start, read(2))
    assert rules(start, read(1)) == {"retained"}
    assert rules(start, read(0)) == {"retained"}


def test_a_later_one_may_be_retained() -> None:
    start = [*online("p"), sent(1, retain=True), taken(1), sent(2, retain=True)]
    assert not rules(start, read(1))
    assert not rules(start, read(2))
    assert rules(start, taken(2, refused=True), read(2)) == {"retained"}
    assert rules(start, read(3)) == {"retained"}


def test_what_is_acknowledged_while_reading_may_be_missed() -> None:
    start = [*online("p"), Reading("r"), sent(1, retain=True), taken(1)]
    assert not rules(start, Read("r", "t/1", "", 0))


def test_cleared_is_cleared() -> None:
    start = [*online("p"), sent(1, retain=True), taken(1), sent(2, retain=True, size=0)]
    assert not rules(start, read(0))
    assert not rules(start, read(1))
    assert not rules(start, taken(2), read(0))
    assert rules(start, taken(2), read(1)) == {"retained"}


def test_qos_2_is_retained_when_it_is_completed() -> None:
    start = [*online("p"), sent(1, 2, retain=True), taken(1)]
    assert not rules(start, read(0))
    assert rules(start, Completed("p", 1, 1), read(0)) == {"retained"}


def test_a_topic_of_two_senders_cannot_be_followed() -> None:
    with pytest.raises(ValueError, match="two clients"):
        check([sent(1, retain=True), Sent("q", 1, "t/1", 1, True, 1, 40, False)])


# -- session


def test_a_session_is_there_again() -> None:
    assert rules(online("s"), lost("s"), online("s", 2)) == {"session"}
    assert not rules(online("s"), lost("s"), online("s", 2, present=True))
    assert not rules(Connecting("s", 1, False, FOREVER), online("s", 2))  # there was no CONNACK
    assert not rules(online("s"), lost("s"), online("s", 2, clean=True))


def test_a_session_nobody_wants_is_not() -> None:
    assert rules(online("s", present=True)) == {"session"}
    assert rules(online("s"), lost("s"), online("s", 2, clean=True, present=True)) == {"session"}


def test_a_session_may_be_there_without_connack() -> None:
    asked = Connecting("s", 1, False, FOREVER)
    assert not rules(asked, online("s", 2, present=True))
    assert not rules(asked, online("s", 2))
    assert rules(Connecting("s", 1, True, 0.0), online("s", 2, present=True)) == {"session"}


def test_a_lost_session_is_one_finding_only() -> None:
    assert rules(READY, sent(1), taken(1), lost("s"), online("s", 2)) == {"session"}


def visit(client: str, epoch: int, expiry_s: float, *, present: bool, at: float) -> list[Event]:
    return [
        Connecting(client, epoch, False, expiry_s, at),
        Connected(client, epoch, present, at),
    ]


def test_a_session_is_there_until_its_expiry() -> None:
    made = [*visit("s", 1, 10.0, present=False, at=0), lost("s", at=5)]
    assert rules(made, visit("s", 2, 10.0, present=False, at=12)) == {"session"}
    assert not rules(made, visit("s", 2, 10.0, present=True, at=12))
    assert not rules(made, visit("s", 2, 10.0, present=False, at=16))
    assert rules(made, visit("s", 2, 10.0, present=True, at=17)) == {"session"}
    killed = [*made, Killed(6), Started(7)]  # only the broker knew the end of the session
    assert not rules(killed, visit("s", 2, 10.0, present=True, at=17))


def test_a_session_resumed_without_an_expiry_gets_what_waits_and_ends() -> None:
    away = [*READY, lost("s", at=1), sent(1), taken(1)]
    resumed = visit("s", 2, 0.0, present=True, at=2)
    assert rules(away, resumed) == {"lost"}
    assert not rules(away, resumed, got(1, epoch=2))
    over = [*away, *resumed, lost("s", 2, at=3)]
    assert not rules(over, visit("s", 3, 0.0, present=False, at=9))
    assert rules(over, visit("s", 3, 0.0, present=True, at=9)) == {"session", "lost"}


def test_a_connect_that_nobody_answered_may_have_made_another_session() -> None:
    made = [*visit("s", 1, 0.0, present=False, at=0), *subscribed("s"), lost("s", at=1)]
    asked = [Connecting("s", 2, False, FOREVER), lost("s", 2, at=2)]
    back = [*visit("s", 3, FOREVER, present=True, at=3), *online("p"), sent(1), taken(1)]
    assert not rules(made, asked, back)


# -- cut, expired


def test_the_broker_ends_no_connection_without_a_reason() -> None:
    cut = Lost("s", 1, False, 0.0, cut=True)
    assert rules(READY, cut) == {"cut"}
    assert not rules(READY, Killed(0), cut)
    assert rules(READY, Killed(0), Started(1), cut) == {"cut"}


def test_an_expired_message_does_not_come_late() -> None:
    def brief(at: float) -> list[Event]:
        event = Sent("p", 1, "t/1", 1, False, 1, 40, False, 10.0, at)
        return [event, Taken("p", 1, 1, False, at)]

    away = [*READY, lost("s", at=0), *brief(1)]
    assert not rules(away), "it is not promised"
    assert not rules(away, online("s", 2, present=True, at=9), got(1, epoch=2))
    assert rules(away, online("s", 2, present=True, at=13), got(1, epoch=2)) == {"expired"}
    began = [*away, *online("s", 2, present=True, at=13)]
    assert not rules(began, got(1, epoch=2, again=True)), "it was sent before"


# -- unasked, changed


def test_nothing_comes_that_nobody_wanted() -> None:
    assert rules(online("p"), online("s"), sent(1), got(1)) == {"unasked"}
    over = [*READY, Unsubscribing("s", "t/#"), Unsubscribed("s", "t/#")]
    assert rules(over, sent(1), got(1)) == {"unasked"}
    assert rules(READY, got(1)) == {"unasked"}  # nobody sent it
    assert not rules(READY, sent(1), Unsubscribing("s", "t/#"), Unsubscribed("s", "t/#"), got(1))


def test_a_clean_connect_that_was_not_answered_may_have_made_another_session() -> None:
    asked: list[Event] = [Connecting("s", 2, True, FOREVER), Killed(1.0), Started(2.0)]
    waits = [*READY, lost("s"), sent(1), *done(1)]
    assert "lost" in rules(waits, online("s", 3, present=True))
    assert not rules(waits, asked, online("s", 3, present=True))


def test_nothing_old_comes_to_a_new_session() -> None:
    start = [*READY, sent(1), taken(1), lost("s"), *online("s", 2, clean=True)]
    assert rules(start, got(1, epoch=2)) == {"unasked"}


def test_nothing_is_changed() -> None:
    assert rules(READY, sent(1), taken(1), got(1, whole=False)) == {"changed"}
    assert rules(READY, sent(1), taken(1), got(1, topic="t/2")) == {"changed"}


def test_an_answer_to_nothing() -> None:
    assert rules(READY, taken(1)) == {"unasked"}


# -- wills


def will(delay_s: float = 1.0) -> list[Event]:
    set_ = WillSet("w", 1, "t/will", 2, delay_s)
    return [*online("s"), *subscribed("s"), Connecting("w", 1, False, FOREVER), set_,
            Connected("w", 1, False, 0.0)]  # fmt: skip


def will_comes(packet_id: int = 1) -> Event:
    return Got("s", 1, "w.will", 1, "t/will", 2, packet_id, False, False, True)


def test_a_will_comes_when_its_client_is_lost() -> None:
    assert rules(will(), lost("w", at=10), end=20) == {"will"}
    assert not rules(will(), lost("w", at=10), will_comes(), end=20)
    assert not rules(will(), lost("w", at=10), end=11)  # it may still come
    assert not rules(will(), end=20)
    assert not rules(will(), lost("w", at=10, polite=True), end=20)


def test_a_will_is_for_clients_that_had_subscribed() -> None:
    late = [*online("late"), Subscribing("late", "t/#", 2)]
    granted = Subscribed("late", "t/#", 2)
    assert not rules(will(), late, lost("w", at=10), granted, will_comes(), end=20)
    assert rules(will(), late, granted, lost("w", at=10), will_comes(), end=20) == {"will"}


def test_a_will_survives_a_kill() -> None:
    assert rules(will(), lost("w", at=10), Killed(10), Started(11), end=20) == {"will"}
    assert rules(will(), Killed(10), lost("w", at=10), Started(11), end=20) == {"will"}
    assert not rules(will(), Killed(10), lost("w", at=10), Started(18), end=20)  # it may still


def test_a_good_bye_that_a_kill_kept_from_the_broker_is_none() -> None:
    gone = lost("w", at=10, polite=True)
    assert not rules(will(), gone, Killed(10), Started(11), will_comes(), end=20)
    assert not rules(will(), gone, Killed(10), Started(11), end=20)
    assert rules(will(), gone, will_comes(), Killed(10), Started(11), end=20) == {"will"}


def test_a_will_comes_once() -> None:
    assert rules(will(), lost("w", at=10), will_comes(), will_comes(2), end=20) == {"twice"}


def test_a_will_does_not_come_without_reason() -> None:
    assert rules(will(), will_comes(), end=20) == {"will"}
    assert not rules(will(), Killed(10), will_comes(), lost("w", at=10.1), end=20)
    assert rules(will(), lost("w", at=10, polite=True), will_comes(), end=20) == {"will"}
    back = online("w", 2, present=True, at=10.1)
    assert rules(will(10), lost("w", at=10), back, will_comes(), end=20) == {"will"}
    assert not rules(will(10), lost("w", at=10), back, end=30)
    late: list[Event] = [
        Connecting("w", 2, False, FOREVER, 10.5),
        Connected("w", 2, True, 29),
    ]  # a slow answer
    assert not rules(will(10), lost("w", at=10), late, end=30)
    assert not rules(will(10), lost("w", at=10), late[:1], end=30)
    late[0] = Connecting("w", 2, False, FOREVER, 25)
    assert rules(will(10), lost("w", at=10), late, end=30) == {"will"}


def test_findings_are_told_by_rule() -> None:
    text = describe(check([*READY, sent(1), taken(1), sent(2), taken(2)]))
    assert text.splitlines() == [
        "lost: 2",
        "  s never got p 1 on t/1, acknowledged at QoS 1",
        "  s never got p 2 on t/1, acknowledged at QoS 1",
    ]
