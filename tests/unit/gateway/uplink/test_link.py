import random
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from gateway.backoff import delays
from gateway.uplink.link import REFUSED_RETRY_S, STABLE_S, CloudLink, CloudLinkState


def doubling() -> Iterator[float]:
    wait = 1.0
    while True:
        yield wait
        wait *= 2


def test_the_first_attempt_is_due_at_once() -> None:
    link = CloudLink(doubling, now=5.0)
    assert (link.state, link.deadline) == (CloudLinkState.OFFLINE, 5.0)


def test_a_good_attempt() -> None:
    link = CloudLink(doubling, now=0.0)
    link.dial(1.0)
    assert (link.state, link.deadline) == (CloudLinkState.CONNECTING, None)
    link.accepted(2.0)
    assert (link.state, link.since, link.deadline, link.error) == (
        CloudLinkState.ONLINE,
        2.0,
        None,
        "",
    )


def test_pauses_grow_until_a_connection_lasts() -> None:
    link = CloudLink(doubling, now=0.0)
    for expected in (1.0, 2.0, 4.0):
        link.dial(0.0)
        link.lost("no answer", 0.0)
        assert link.deadline == expected
    link.dial(10.0)
    link.accepted(10.0)
    link.lost("flapping", 10.0 + STABLE_S / 2)
    assert link.deadline == 10.0 + STABLE_S / 2 + 8.0
    link.dial(20.0)
    link.accepted(20.0)
    link.lost("after long", 20.0 + STABLE_S)
    assert link.deadline == 20.0 + STABLE_S + 1.0


def test_a_refusal_is_tried_again_seldom_and_says_why() -> None:
    link = CloudLink(doubling, now=0.0)
    link.dial(0.0)
    link.refused("no such node", 1.0)
    assert (link.state, link.error) == (CloudLinkState.REFUSED, "no such node")
    assert link.deadline == 1.0 + REFUSED_RETRY_S
    link.dial(100.0)
    link.accepted(101.0)
    assert link.error == ""


def test_a_renewal_dials_at_once() -> None:
    link = CloudLink(doubling, now=0.0)
    link.dial(0.0)
    link.accepted(0.0)
    link.renew(50.0)
    assert (link.state, link.deadline, link.error) == (CloudLinkState.OFFLINE, 50.0, "")


def test_since_is_when_the_state_began() -> None:
    link = CloudLink(doubling, now=0.0)
    link.dial(1.0)
    link.lost("a", 2.0)
    link.lost("b", 3.0)
    assert link.since == 2.0


@given(st.lists(st.sampled_from(["dial", "accepted", "lost", "refused", "renew"])))
def test_there_is_a_time_to_dial_exactly_while_nothing_is_going_on(verbs: list[str]) -> None:
    link = CloudLink(lambda: delays(0.5, 60, random.Random(1)), now=0.0)
    for now, verb in enumerate(verbs):
        if verb in ("lost", "refused"):
            getattr(link, verb)("why", float(now))
        else:
            getattr(link, verb)(float(now))
        busy = link.state in (CloudLinkState.CONNECTING, CloudLinkState.ONLINE)
        assert (link.deadline is None) == busy
