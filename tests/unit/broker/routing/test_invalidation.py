"""Few routes are learned anew when subscriptions and connections change."""

import pytest

from broker.routing.invalidation import LATEST, MATCHES
from tests.unit.broker.rig import Peer, Rig

TOPICS = ("a", "b/1", "b/2", "$c")


class Watch:
    """A client that publishes, and says how many routes it had to learn for that."""

    def __init__(self, rig: Rig, topics: tuple[str, ...] = TOPICS) -> None:
        self._rig, self._topics = rig, topics
        self._peer = rig.online("watch")
        self.learn()

    def learn(self) -> int:
        before = self._rig.rules.asked
        for topic in self._topics:
            self._peer.publish(topic)
        return self._rig.rules.asked - before


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def reader(rig: Rig) -> Peer:
    return rig.online("reader")


@pytest.mark.parametrize(
    ("topic_filter", "count"),
    [("a", 1), ("b/1", 1), ("z", 0), ("b/+", 2), ("b/#", 2), ("#", 3), ("$c", 1), ("z/#", 0),
     ("$share/g/b/+", 2), ("$share/g/a", 1)],
)  # fmt: skip
def test_a_subscription_concerns_what_it_matches(
    rig: Rig, reader: Peer, topic_filter: str, count: int
) -> None:
    watch = Watch(rig)
    assert watch.learn() == 0
    reader.subscribe(topic_filter)
    assert watch.learn() == count
    assert watch.learn() == 0


def test_a_client_that_comes_and_goes_changes_only_its_own_routes(rig: Rig) -> None:
    reader = rig.online("reader", clean_start=False)
    reader.subscribe("b/1")
    watch = Watch(rig)
    rig.online("another").hang_up()
    assert watch.learn() == 0
    reader.hang_up()
    assert watch.learn() == 1
    back = rig.online("reader", clean_start=False)
    assert watch.learn() == 1
    assert [topic for topic, _ in back.messages()] == ["b/1"]


def test_a_client_that_missed_much_learns_all_anew(rig: Rig, reader: Peer) -> None:
    watch = Watch(rig)
    for number in range(LATEST):
        reader.subscribe(f"z/{number}")
    assert watch.learn() == 0
    for number in range(LATEST + 1):
        reader.subscribe(f"z/{number}")
    assert watch.learn() == len(TOPICS)


def test_the_end_of_a_session_with_many_filters_concerns_all(rig: Rig, reader: Peer) -> None:
    for number in range(LATEST + 1):
        reader.subscribe(f"z/{number}")
    watch = Watch(rig)
    reader.hang_up()
    assert watch.learn() == len(TOPICS)


@pytest.mark.parametrize(("wildcard", "count"), [(True, MATCHES + 1), (False, 1)])
def test_a_client_with_many_topics_compares_none(
    rig: Rig, reader: Peer, *, wildcard: bool, count: int
) -> None:
    watch = Watch(rig, tuple(f"t/{number}" for number in range(MATCHES + 1)))
    reader.subscribe("t/7/#" if wildcard else "t/7")
    assert watch.learn() == count


def test_rights_concern_all(rig: Rig, reader: Peer) -> None:
    for _ in range(LATEST):
        reader.subscribe("z")
    watch = Watch(rig)
    rig.core.admin.rights_changed()
    reader.subscribe("z")
    assert watch.learn() == len(TOPICS)


def test_topics_that_stay_keep_their_common_outlet(rig: Rig, reader: Peer) -> None:
    reader.subscribe("#")
    publisher = rig.online("publisher")
    for topic in ("a", "b/1"):
        publisher.publish(topic)
    receiver_set = publisher.client.routes[b"a"].receiver_set
    rig.online("other").subscribe("b/1")
    publisher.publish("b/1")
    assert publisher.client.routes[b"b/1"].receiver_set is not receiver_set
    assert set(publisher.client.receiver_sets.values()) == {
        each.receiver_set for each in publisher.client.routes.values()
    }
    publisher.publish("b/2")
    assert publisher.client.routes[b"b/2"].receiver_set is receiver_set
