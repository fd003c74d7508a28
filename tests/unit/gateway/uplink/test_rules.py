from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.messages.topics import is_match
from gateway.uplink.rules import DEFAULT_TOPICS, DOWN, UP, Rules, TopicRule, capture, is_filter

LEVELS = ("a", "b", "", "$x")


@pytest.mark.parametrize(
    ("topic_filter", "topic", "captured"),
    [
        ("a/b", "a/b", []),
        ("a/+", "a/b", ["b"]),
        ("a/+", "a", None),
        ("a/#", "a", [""]),
        ("a/#", "a/b/c", ["b/c"]),
        ("#", "a/b", ["a/b"]),
        ("+/+", "a/b", ["a", "b"]),
        ("#", "$hec/nodes/x", None),
        ("+/nodes/x", "$hec/nodes/x", None),
        ("$hec/#", "$hec/nodes", ["nodes"]),
        ("a/b", "a/b/c", None),
    ],
)
def test_a_filter_captures_what_its_wildcards_stand_for(
    topic_filter: str, topic: str, captured: list[str] | None
) -> None:
    assert capture(topic_filter, topic) == captured


def test_capture_matches_exactly_when_the_broker_does() -> None:
    topics = ["/".join(levels) for n in (1, 2, 3) for levels in product(LEVELS, repeat=n)]
    filters = [
        "/".join(levels) for n in (1, 2) for levels in product((*LEVELS, "+", "#"), repeat=n)
    ]
    for topic_filter in filter(is_filter, filters):
        for topic in filter(None, topics):
            assert (capture(topic_filter, topic) is not None) == is_match(topic_filter, topic)


@pytest.mark.parametrize("text", ["", "a/#/b", "a+", "a/b#", "#/a", "a\0"])
def test_what_is_no_filter(text: str) -> None:
    assert not is_filter(text)


@pytest.mark.parametrize(
    ("rename", "topic", "name"),
    [
        ("", "sensors/attic/temp", "sensors/attic/temp"),
        ("rooms/+/temperature/#", "sensors/attic/temp", "rooms/attic/temperature"),
        ("rooms/+/temperature/#", "sensors/attic/temp/max", "rooms/attic/temperature/max"),
        ("rooms/+/temperature/#", "sensors/attic/hum", None),
    ],
)
def test_a_rename_keeps_what_the_wildcards_stand_for(
    rename: str, topic: str, name: str | None
) -> None:
    rule = TopicRule("sensors/+/temp/#", UP, rename=rename)
    rule.check()
    assert rule.apply(topic) == name


@pytest.mark.parametrize(
    "rule",
    [
        TopicRule("a/#", "sideways"),
        TopicRule("a/#", UP, qos=2),
        TopicRule("a/#/b", UP),
        TopicRule("$hec/#", UP),
        TopicRule("a/+", UP, rename="a/#"),
        TopicRule("a/+", UP, rename="b"),
    ],
)
def test_rules_that_cannot_work_are_refused(rule: TopicRule) -> None:
    with pytest.raises(ValueError, match=r"must (be|have)"):
        rule.check()


def test_of_several_rules_the_first_that_matches_counts() -> None:
    first = TopicRule("devices/+/readings/#", UP, rename="r/+/#")
    rules = Rules([first, TopicRule("devices/#", UP), TopicRule("devices/x/#", DOWN)])
    assert rules.route_up("devices/1/readings/t") == (first, "r/1/t")
    assert rules.route_up("devices/1/status") == (TopicRule("devices/#", UP), "devices/1/status")
    assert rules.route_up("elsewhere") is None
    assert rules.route_down("devices/x/y") == (TopicRule("devices/x/#", DOWN), "devices/x/y")
    assert rules.route_down("devices/1/status") is None


def test_the_default_lets_no_reading_down() -> None:
    rules = Rules(DEFAULT_TOPICS)
    assert rules.route_down("devices/dev-1/commands/led") is not None
    assert rules.route_down("devices/dev-1/readings/t") is None


def test_topics_chosen_by_peers_do_not_fill_the_memory() -> None:
    rules = Rules(DEFAULT_TOPICS)
    for number in range(10_000):
        rules.route_up(f"devices/{number}")
    assert len(rules._names) <= 4096


@given(st.text(max_size=20), st.text(min_size=1, max_size=20))
def test_any_text_is_a_filter_or_not_and_never_a_fault(topic_filter: str, topic: str) -> None:
    if is_filter(topic_filter):
        capture(topic_filter, topic)
