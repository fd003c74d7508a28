import pytest

from microservice.mqtt.rights import REMEMBERED, TopicRights


@pytest.mark.parametrize(
    ("wanted", "topic", "allowed"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/c", False),
        ("a/+", "a/b", True),
        ("a/+", "a/b/c", False),
        ("a/+", "a", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "a/b", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("a/{b}", "a/{b}", True),
        ("a/{b}", "a/c", False),
        ("#", "a/+", False),
        ("#", "a/#", False),
        ("#", "", False),
    ],
)
def test_topics(wanted: str, topic: str, allowed: bool) -> None:
    assert TopicRights([wanted]).allow(topic) is allowed


def test_no_filter_allows_nothing() -> None:
    assert not TopicRights([]).allow("a")


def test_many_topics_are_not_remembered_for_ever() -> None:
    rights = TopicRights(["a/+"])
    assert all(rights.allow(f"a/{number}") for number in range(3 * REMEMBERED))
    assert len(rights._verdicts) <= REMEMBERED
