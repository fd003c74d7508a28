import pytest
from hypothesis import given
from hypothesis import strategies as st

from microservice.errors import ServiceError
from microservice.template import parse_path, parse_topic, topic_filter


def matched(text: str, topic: str) -> dict[str, str] | None:
    return parse_topic(text).match(topic.split("/"))


def test_named_levels_are_found() -> None:
    assert matched("sensors/{room}/temperature", "sensors/attic/temperature") == {"room": "attic"}
    assert matched("{a}/{b}", "x/y") == {"a": "x", "b": "y"}


@pytest.mark.parametrize(
    "topic", ["sensors/attic", "sensors/attic/temperature/x", "sensors/attic/humidity", ""]
)
def test_other_topics_are_not(topic: str) -> None:
    assert matched("sensors/{room}/temperature", topic) is None


def test_wildcards_mean_what_they_mean_in_mqtt() -> None:
    assert matched("a/+/{x}", "a/b/c") == {"x": "c"}
    assert matched("a/#", "a") == {}
    assert matched("a/#", "a/b/c") == {}
    assert matched("a/#", "b") is None
    assert matched("#", "a/b") == {}


def test_filter_has_plus_for_names() -> None:
    assert topic_filter(parse_topic("sensors/{room}/#")) == "sensors/+/#"
    assert topic_filter(parse_topic("#")) == "#"
    assert topic_filter(parse_topic("/a//")) == "/a//"


@pytest.mark.parametrize("text", ["", "a/b{c}", "a/{}", "a/{1x}", "a/#/b", "a+/b", "{a}/{a}", "\0"])
def test_what_is_no_topic_is_refused(text: str) -> None:
    with pytest.raises(ServiceError, match="cannot subscribe to"):
        parse_topic(text)


@pytest.mark.parametrize("text", ["rooms", "/rooms?x", "/a#b", "/a/+", "/{a}/{a}", "/x{a}"])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ServiceError, match="cannot serve"):
        parse_path(text)


LEVEL = st.text(st.characters(blacklist_characters="/+#{}\0", blacklist_categories=["Cs"]))


@given(st.lists(st.tuples(LEVEL, st.booleans()), min_size=1, max_size=6))
def test_a_template_matches_the_topic_it_was_made_of(levels: list[tuple[str, bool]]) -> None:
    text = "/".join(f"{{n{i}}}" if named else level for i, (level, named) in enumerate(levels))
    if not text:
        return
    found = parse_topic(text).match([level for level, _ in levels])
    assert found == {f"n{i}": level for i, (level, named) in enumerate(levels) if named}
