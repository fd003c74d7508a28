import pytest

from cloud.relay.actions import Action, Answer, Close, Cut, Join, Reject, SendFrame
from cloud.relay.beps import Beps, Claim, RelayedBep
from cloud.relay.limits import RelayLimits
from protocol.preface import EndReason, FrameType, Status

LIMITS = RelayLimits(
    beps=2, ready=2, waiting=2, streams=3, revocations=2,
    wait_s=10, need_s=2, grace_s=30, idle_s=100, ping_s=15, pong_s=5, revoked_s=1000,
)  # fmt: skip
CLAIM = Claim("bep", "node", lasts_s=500)
ACCEPTED = Status.ACCEPTED


@pytest.fixture
def beps() -> Beps[str]:
    return Beps(LIMITS)


@pytest.fixture
def opened(beps: Beps[str]) -> Beps[str]:
    assert beps.open("control", CLAIM, 0) == [Answer("control", ACCEPTED)]
    return beps


def statuses(actions: list[Action[str]]) -> list[int]:
    return [action.status for action in actions if isinstance(action, Reject)]


def only(beps: Beps[str], epoch: float = 0) -> RelayedBep:
    (bep,) = beps.snapshot(lambda _: 0, epoch)
    return bep


def need(count: int, control: str = "control") -> SendFrame[str]:
    return SendFrame(control, FrameType.NEED, count)


def test_a_visitor_is_joined_with_the_newest_ready_connection(opened: Beps[str]) -> None:
    assert opened.offer("old", CLAIM) == [Answer("old", ACCEPTED)]
    opened.offer("new", CLAIM)
    assert opened.visit("visitor", "bep", 3) == [Join("visitor", "new")]
    assert opened.visit("second", "bep", 3) == [Join("second", "old")]


def test_a_visitor_without_ready_connection_waits_for_one(opened: Beps[str]) -> None:
    assert opened.visit("a", "bep", 1) == [need(1)]
    assert opened.visit("b", "bep", 1) == [need(1)]
    assert opened.offer("data", CLAIM) == [Answer("data", ACCEPTED), Join("a", "data")]
    assert opened.offer("data2", CLAIM) == [Answer("data2", ACCEPTED), Join("b", "data2")]
    assert only(opened).ready == 0


def test_a_waiting_visitor_is_told_after_a_time(opened: Beps[str]) -> None:
    opened.visit("a", "bep", 1)
    assert statuses(opened.tick(10.9)) == []
    assert statuses(opened.tick(11)) == [504]
    assert opened.tick(11.1) == []


def test_need_is_repeated_while_visitors_wait(opened: Beps[str]) -> None:
    opened.visit("a", "bep", 1)
    opened.visit("b", "bep", 1)
    assert opened.tick(2.9) == []
    assert opened.tick(3) == [need(2)]
    assert opened.tick(4) == []
    opened.offer("data", CLAIM)
    assert opened.tick(5) == [need(1)]


def test_an_unknown_bep_is_not_found(opened: Beps[str]) -> None:
    assert statuses(opened.visit("visitor", "other", 1)) == [404]


def test_visitors_are_bounded(opened: Beps[str]) -> None:
    opened.visit("a", "bep", 1)
    opened.visit("b", "bep", 1)
    assert statuses(opened.visit("c", "bep", 1)) == [503]
    for data in ("1", "2", "3"):
        opened.offer(data, CLAIM)
    assert opened.visit("c", "bep", 1) == [Join("c", "3")]
    opened.offer("4", CLAIM)
    assert statuses(opened.visit("d", "bep", 1)) == [503]
    opened.stream_ended("a", 5, 2)
    assert opened.visit("d", "bep", 2) == [Join("d", "4")]


def test_waiting_visitors_count_as_streams(opened: Beps[str]) -> None:
    opened.offer("1", CLAIM)
    opened.offer("2", CLAIM)
    for visitor in ("a", "b", "c"):
        opened.visit(visitor, "bep", 1)
    assert statuses(opened.visit("d", "bep", 1)) == [503]


def test_ready_connections_are_bounded(opened: Beps[str]) -> None:
    opened.offer("1", CLAIM)
    opened.offer("2", CLAIM)
    assert opened.offer("3", CLAIM) == [Answer("3", Status.LIMIT)]
    opened.lost("1", 2)
    assert opened.offer("3", CLAIM) == [Answer("3", ACCEPTED)]


def test_losing_what_is_not_held_or_joined_changes_nothing(opened: Beps[str]) -> None:
    opened.offer("data", CLAIM)
    opened.visit("visitor", "bep", 1)
    for stranger in ("visitor", "data", "stranger"):
        opened.lost(stranger, 2)
    assert only(opened).visitors == 1
    opened.stream_ended("visitor", 10, 3)
    assert only(opened).bytes == 10


def test_beps_are_bounded(opened: Beps[str]) -> None:
    opened.open("second", Claim("bep2", "node", 500), 0)
    assert opened.open("third", Claim("bep3", "node", 500), 0) == [Answer("third", Status.LIMIT)]
    assert opened.open("again", CLAIM, 0)[-1] == Answer("again", ACCEPTED)


def test_a_data_connection_needs_a_bep_of_its_node(opened: Beps[str]) -> None:
    assert opened.offer("data", Claim("other", "node", 9)) == [Answer("data", Status.GONE)]
    assert opened.offer("data", Claim("bep", "thief", 9)) == [Answer("data", Status.BAD_TOKEN)]
    assert opened.open("thief", Claim("bep", "thief", 9), 0) == [Answer("thief", Status.BAD_TOKEN)]
    assert opened.visit("visitor", "bep", 0) == [need(1)]


def test_a_new_control_connection_replaces_what_was_ready(opened: Beps[str]) -> None:
    opened.offer("data", CLAIM)
    opened.visit("visitor", "bep", 1)
    opened.offer("stale", CLAIM)
    assert opened.open("again", CLAIM, 2) == [
        Close("stale"),
        Close("control"),
        Answer("again", ACCEPTED),
    ]
    opened.lost("control", 3)  # the old one's end says nothing about the new one
    assert opened.visit("waiting", "bep", 3) == [need(1, "again")]
    assert only(opened).visitors == 1


def test_a_new_control_connection_hears_of_waiting_visitors(opened: Beps[str]) -> None:
    opened.lost("control", 1)
    assert opened.visit("a", "bep", 2) == []
    assert opened.visit("b", "bep", 2) == []
    assert opened.open("again", CLAIM, 3) == [Answer("again", ACCEPTED), need(2, "again")]


def test_a_later_token_prolongs_a_bep_an_earlier_does_not_shorten_it(opened: Beps[str]) -> None:
    opened.open("again", Claim("bep", "node", 1000), 0)
    opened.open("thrice", Claim("bep", "node", 10), 0)
    opened.visit("keeps it from being idle", "bep", 1)
    opened.offer("data", CLAIM)
    assert not any(isinstance(action, Cut) for action in opened.tick(999))
    assert Cut("keeps it from being idle") in opened.tick(1000)


def test_expiry_ends_everything(opened: Beps[str]) -> None:
    opened.offer("joined", CLAIM)
    opened.visit("visitor", "bep", 1)
    opened.offer("ready", CLAIM)
    assert not any(isinstance(action, Cut) for action in opened.tick(499.9))
    assert opened.tick(500) == [
        SendFrame("control", FrameType.END, EndReason.EXPIRED),
        Close("ready"),
        Close("control"),
        Cut("visitor"),
    ]
    assert opened.snapshot(lambda _: 0, 0) == []
    opened.stream_ended("visitor", 9, 501)  # reported after the cut: nothing to note


def test_revocation_ends_everything_and_stands(opened: Beps[str]) -> None:
    opened.visit("waiting", "bep", 1)
    actions = opened.revoke("bep", 2)
    assert actions[:2] == [
        SendFrame("control", FrameType.END, EndReason.REVOKED),
        Close("control"),
    ]
    assert statuses(actions) == [404]
    assert opened.open("again", CLAIM, 3) == [Answer("again", Status.GONE)]
    assert opened.offer("data", CLAIM) == [Answer("data", Status.GONE)]
    opened.tick(1001)
    assert opened.open("again", CLAIM, 1001) == [Answer("again", Status.GONE)]
    opened.tick(1002)
    assert opened.open("again", CLAIM, 1002) == [Answer("again", ACCEPTED)]


def test_what_was_never_seen_can_be_revoked(beps: Beps[str]) -> None:
    assert beps.revoke("bep", 0) == []
    assert beps.open("control", CLAIM, 1) == [Answer("control", Status.GONE)]


def test_revocations_are_bounded_the_oldest_goes(beps: Beps[str]) -> None:
    for bep_id in ("first", "bep", "second", "bep", "bep", "third"):
        beps.revoke(bep_id, 0)
    assert beps.open("control", CLAIM, 1) == [Answer("control", Status.GONE)]
    second = Claim("second", "node", 9)
    assert beps.open("control", second, 1) == [Answer("control", ACCEPTED)]


def test_revoking_again_pushes_no_other_out(beps: Beps[str]) -> None:
    for bep_id in ("bep", "second", "second"):
        beps.revoke(bep_id, 0)
    assert beps.open("control", CLAIM, 1) == [Answer("control", Status.GONE)]


def test_an_idle_bep_ends(opened: Beps[str]) -> None:
    opened.offer("data", CLAIM)
    opened.visit("visitor", "bep", 20)
    opened.stream_ended("visitor", 1, 50)
    ends = [SendFrame("control", FrameType.END, EndReason.IDLE), Close("control")]
    answer(opened, 149.9)
    assert opened.tick(150) == ends


def answer(beps: Beps[str], until: float) -> None:
    """Let time pass with every PING answered."""
    now = 50.0
    while now < until:
        for action in beps.tick(now):
            assert action == SendFrame("control", FrameType.PING, 0)
            beps.heard("control")
        now += 1.0


def test_a_waiting_visitor_is_not_idleness() -> None:
    beps: Beps[str] = Beps(RelayLimits(idle_s=5, wait_s=10))
    beps.open("control", CLAIM, 0)
    beps.visit("visitor", "bep", 1)
    assert beps.tick(6) == [need(1)]


def test_pings_that_are_not_answered_end_the_control_connection(opened: Beps[str]) -> None:
    assert opened.tick(14.9) == []
    assert opened.tick(15) == [SendFrame("control", FrameType.PING, 0)]
    assert opened.tick(19.9) == []
    opened.heard("control")
    assert opened.tick(20) == []
    assert opened.tick(30) == [SendFrame("control", FrameType.PING, 0)]
    opened.heard("stranger")
    assert opened.tick(35) == [Close("control")]
    assert opened.tick(36) == []


def test_ready_connections_outlive_the_control_connection_for_a_while(opened: Beps[str]) -> None:
    opened.offer("1", CLAIM)
    opened.offer("2", CLAIM)
    opened.lost("control", 10)
    assert opened.visit("a", "bep", 11) == [Join("a", "2")]
    assert opened.tick(50) == []  # its stream keeps the BEP
    opened.stream_ended("a", 7, 60)
    assert opened.tick(61) == [Close("1")]
    assert opened.snapshot(lambda _: 0, 0) == []


def test_grace_ends(opened: Beps[str]) -> None:
    opened.lost("control", 10)
    opened.tick(39.9)
    assert len(opened.snapshot(lambda _: 0, 0)) == 1
    opened.tick(40)
    assert opened.snapshot(lambda _: 0, 0) == []


def test_visitors_that_wait_do_not_prolong_the_grace(opened: Beps[str]) -> None:  # case G7
    opened.lost("control", 10)
    opened.visit("a", "bep", 39)
    assert statuses(opened.tick(40)) == [404]
    assert opened.snapshot(lambda _: 0, 0) == []


def test_stop_ends_all(opened: Beps[str]) -> None:
    opened.open("other", Claim("bep2", "node", 9), 0)
    ends = [action.control for action in opened.stop() if isinstance(action, SendFrame)]
    assert ends == ["control", "other"]
    assert opened.snapshot(lambda _: 0, 0) == []


def test_a_dead_data_connection_is_replaced_by_another(opened: Beps[str]) -> None:
    opened.offer("1", CLAIM)
    opened.offer("2", CLAIM)
    opened.visit("a", "bep", 2)
    assert opened.retry("a", 2) == [Join("a", "1")]
    assert opened.retry("a", 2) == [need(1)]
    assert only(opened).visitors == 0
    assert opened.retry("stranger", 2) == []
    assert opened.offer("3", CLAIM)[-1] == Join("a", "3")
    assert only(opened).visitors_total == 1


def test_the_snapshot_counts(opened: Beps[str]) -> None:
    for data in ("1", "2"):
        opened.offer(data, CLAIM)
    opened.visit("a", "bep", 2)
    opened.visit("b", "bep", 2)
    opened.stream_ended("a", 1000, 3)
    opened.stream_ended("a", 1000, 3)
    opened.offer("3", CLAIM)
    (bep,) = opened.snapshot({"b": 50}.__getitem__, 1e9)
    assert bep == RelayedBep("bep", "node", 1, 1050, 1e9, ready=1, visitors_total=2)
