import pytest

from microservice.errors import PublishError
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
    ],
)
def test_topics(wanted: str, topic: str, allowed: bool) -> None:
    assert TopicRights([wanted]).allow(topic) is allowed


@pytest.mark.parametrize("topic", ["", "a/+", "a/#", "a\0", "a\nb", "\x9b", "\ud800", "x" * 70_000])
def test_what_is_no_topic_is_refused_with_the_reason(topic: str) -> None:
    with pytest.raises(PublishError, match="cannot publish"):
        TopicRights(["#"]).allow(topic)


def test_no_filter_allows_nothing() -> None:
    assert not TopicRights([]).allow("a")


def test_many_topics_are_not_remembered_for_ever() -> None:
    rights = TopicRights(["a/+"])
    assert all(rights.allow(f"a/{number}") for number in range(3 * REMEMBERED))
    assert len(rights._verdicts) <= REMEMBERED
