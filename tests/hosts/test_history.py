"""The checker finds each kind of violation in a made-up history, and none in a sound one."""

import pytest

from tests.hosts.history import (
    Acknowledged,
    Arrived,
    Called,
    Event,
    Executed,
    Listed,
    Outcome,
    Stopped,
    Truth,
    Verdict,
    View,
    judge,
)

BOUND_S = 5.0
END = 100.0
ALL = frozenset("abc")
SOUND: list[Event] = [
    Truth(0, (ALL,)),
    View(1, "a", "supernode", "a", 1),
    View(1, "b", "member", "a", 1),
    View(2, "c", "member", "a", 1),
    *(Listed(3, node, ALL) for node in ALL),
    Called(4, "r1", "b", Outcome.ANSWERED, "b"),
    Executed(4, "r1", "b"),
    Called(5, "r2", "b", Outcome.UNKNOWN),
    Called(6, "r3", "b", Outcome.NOT_SENT),
    Acknowledged(7, "m1", 1),
    Arrived(8, "m1"),
    Arrived(9, "m1"),
    Acknowledged(7, "m2", 2),
    Arrived(8, "m2"),
    Acknowledged(7, "m3", 0),
    # a is cut off; both halves have a supernode, and merge after the heal
    Truth(20, (frozenset("a"), frozenset("bc"))),
    View(22, "b", "supernode", "b", 2),
    View(22, "c", "member", "b", 2),
    *(Listed(23, node, frozenset("bc")) for node in "bc"),
    Listed(23, "a", frozenset("a")),
    Truth(40, (ALL,)),
    View(43, "a", "member", "b", 3),
    View(43, "b", "supernode", "b", 3),
    View(43, "c", "member", "b", 3),
    *(Listed(44, node, ALL) for node in ALL),
    # c is killed and comes back
    Truth(60, (frozenset("ab"),)),
    Stopped(60, "c"),
    *(Listed(64, node, frozenset("ab")) for node in "ab"),
    Truth(70, None),
    Truth(80, (ALL,)),
    View(82, "c", "member", "b", 3),
    *(Listed(84, node, ALL) for node in ALL),
]


def judge_sound(*more: Event, without: type | None = None) -> Verdict:
    kept = [event for event in SOUND if without is None or not isinstance(event, without)]
    return judge([*kept, *more], BOUND_S, END)


def test_a_sound_history_has_no_violation_and_is_counted() -> None:
    verdict = judge_sound()
    verdict.check("View", "Listed", "Called", "Executed", "Arrived")
    assert verdict.counts["Truth"] == 6


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ("2 supernodes: a, b", [View(90, "a", "supernode", "a", 4)]),
        ("no supernode that all follow", [View(90, "b", "seeking", "", 4)]),
        ("no supernode that all follow", [View(90, "c", "member", "a", 4)]),
        ("no supernode that all follow", [Stopped(90, "b")]),
        ("the list of c lacks ['a']", [Listed(90, "c", frozenset("bc"))]),
        ("has ['x'] too many", [Listed(90, "c", frozenset("abcx"))]),
        ("the epoch of c goes back from 3 to 2", [View(90, "c", "member", "b", 2)]),
        ("message m9 was acknowledged and is lost", [Acknowledged(90, "m9", 1)]),
        ("message m2 of QoS 2 arrived 2 times", [Arrived(91, "m2")]),
        ("message m3 of QoS 0 arrived 2 times", [Arrived(91, "m3"), Arrived(92, "m3")]),
        ("request r1 was carried out 2 times", [Executed(91, "r1", "b")]),
        ("request r2 for b was carried out by {'c'}", [Executed(91, "r2", "c")]),
        ("request r9 for b was answered by c", [Called(90, "r9", "b", Outcome.ANSWERED, "c")]),
        ("request r9 was answered and not", [Called(90, "r9", "b", Outcome.ANSWERED, "b")]),
        ("request r3 was carried out, and said not to be sent", [Executed(91, "r3", "b")]),
    ],
)
def test_each_violation_is_found(said: str, wrong: list[Event]) -> None:
    violations = judge_sound(*wrong).violations
    assert any(said in each for each in violations), violations


def test_two_supernodes_are_found_when_the_network_changes_at_once_afterwards() -> None:
    bad = View(50, "a", "supernode", "a", 4)
    assert judge_sound(bad, Truth(54, (ALL,))).violations != ()  # they go on after it
    mended = View(52, "a", "member", "b", 4)
    assert judge_sound(bad, mended).violations == ()  # they yield within the bound


def test_a_history_of_nothing_proves_nothing() -> None:
    with pytest.raises(AssertionError, match="holds no Listed"):
        judge_sound(without=Listed).check("Listed")


def test_what_is_wrong_while_the_network_changes_is_not_judged() -> None:
    two = View(71, "a", "supernode", "a", 4)
    mended = View(79, "a", "member", "b", 4)
    assert judge_sound(two, mended).violations == ()
