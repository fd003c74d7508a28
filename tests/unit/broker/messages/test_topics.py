from itertools import product

import pytest

from broker.messages.message import Message
from broker.messages.retained import RetainedStore
from broker.messages.topics import SubscriptionTree, covers, is_match
from broker.quota.limits import Limits
from broker.wire.packets import Subscription

# the examples of the standard, section 4.7
EXAMPLES = [
    ("sport/tennis/player1/#", "sport/tennis/player1", True),
    ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True),
    ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
    ("sport/#", "sport", True),
    ("#", "sport", True),
    ("sport/tennis/+", "sport/tennis/player1", True),
    ("sport/tennis/+", "sport/tennis/player1/ranking", False),
    ("sport/+", "sport", False),
    ("sport/+", "sport/", True),
    ("+/+", "/finance", True),
    ("/+", "/finance", True),
    ("+", "/finance", False),
    ("#", "$SYS/x", False),
    ("+/monitor/Clients", "$SYS/monitor/Clients", False),
    ("$SYS/#", "$SYS/x", True),
    ("$SYS/monitor/+", "$SYS/monitor/Clients", True),
    ("ACCOUNTS", "Accounts", False),
    ("a", "a/", False),
]


# [MQTT-3.3.2-3] [MQTT-4.7.2-1] [MQTT-4.7.3-4]
@pytest.mark.parametrize(("topic_filter", "topic", "expected"), EXAMPLES)
def test_matches_as_in_the_standard(topic_filter: str, topic: str, expected: bool) -> None:
    assert is_match(topic_filter, topic) is expected
    tree: SubscriptionTree[str] = SubscriptionTree()
    tree.add("s", Subscription(topic_filter))
    assert bool(list(tree.match(topic))) is expected
    store = RetainedStore(1, 1000)
    store.keep(Message(topic, b"x"))
    assert bool(list(store.match(topic_filter))) is expected


def test_the_cost_of_matching_does_not_follow_the_number_of_filters() -> None:
    tree: SubscriptionTree[str] = SubscriptionTree()
    visited = 0

    class Counting(dict[str, object]):
        def __contains__(self, key: object) -> bool:
            nonlocal visited
            visited += 1
            return super().__contains__(key)

    for number in range(2_000):
        tree.add("s", Subscription(f"house/{number}/+/state"))
    for node in (tree._root, *tree._root.children.values()):
        node.children = Counting(node.children)  # type: ignore[assignment]  # counts look-ups
    assert len(list(tree.match("house/77/lamp/state"))) == 1
    assert visited <= 12


def test_a_deep_topic_is_no_trouble() -> None:
    deep = "/".join("x" * 30_000)
    tree: SubscriptionTree[str] = SubscriptionTree()
    tree.add("s", Subscription("#"))
    assert len(list(tree.match(deep))) == 1
    store = RetainedStore(10, 1_000_000)
    store.keep(Message(deep, b"x"))
    assert len(list(store.match("#"))) == 1
    store.forget(deep)
    assert len(store) == 0


def test_retained_limits() -> None:
    store = RetainedStore(2, 1000)
    assert store.keep(Message("a", b"x"))
    assert store.keep(Message("b", b"x"))
    assert not store.keep(Message("c", b"x"))
    assert store.keep(Message("b", b"y"))
    assert not store.keep(Message("b", b"y" * 1000))
    assert store.get("b") == Message("b", b"y")
    assert Limits().retained_messages > 2


@pytest.mark.parametrize(
    ("allowed", "wanted", "covered"),
    [
        ("a/#", "a", True),
        ("a/#", "a/+/b", True),
        ("a/+", "a/+", True),
        ("a/+", "a/#", False),
        ("a/+", "a", False),
        ("#", "+/b", True),
        ("#", "$hec/x", False),
        ("a/b", "a/+", False),
        ("+", "#", False),
    ],
)
def test_covers(allowed: str, wanted: str, *, covered: bool) -> None:
    assert covers(allowed, wanted) is covered


def test_what_is_covered_matches_no_topic_that_is_not_allowed() -> None:
    words, topics = ("a", "b", "+", "#", "$a"), ("a", "b", "$a")
    filters = ["/".join(f) for n in (1, 2, 3) for f in product(words, repeat=n)]
    filters = [f for f in filters if "#/" not in f]
    names = ["/".join(t) for n in (1, 2, 3) for t in product(topics, repeat=n)]
    matched = {f: frozenset(t for t in names if is_match(f, t)) for f in filters}
    for allowed, wanted in product(filters[::3], filters):
        if covers(allowed, wanted):
            assert matched[wanted] <= matched[allowed], (allowed, wanted)


def test_retained_messages_are_looked_for_where_some_may_be() -> None:
    retained = RetainedStore(10, 10_000)
    assert not retained.may_match("#")
    retained.keep(Message("a/b", b"x"))
    assert [each for each in ("a/b", "a", "b", "a/+", "c/#") if retained.may_match(each)] == [
        "a/b", "a/+", "c/#",
    ]  # fmt: skip
    retained.forget("a/b")
    retained.keep_own(Message("$SYS/a", b"x"))
    assert retained.may_match("$SYS/#")
    assert retained.may_match("$SYS/a")
    assert not retained.may_match("a/b")
