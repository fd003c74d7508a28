"""The trees find what the plain definition of matching finds."""

from hypothesis import given
from hypothesis import strategies as st

from broker.messages.message import Message
from broker.messages.retained import RetainedStore
from broker.messages.topics import SubscriptionTree, is_match, validate_filter, validate_topic
from broker.wire.errors import RemoteProtocolError
from broker.wire.packets import Subscription

levels = st.sampled_from(["", "a", "b", "$x", "ab"])
topics = st.lists(levels, min_size=1, max_size=4).map("/".join).filter(bool)
filters = (
    st.tuples(st.lists(levels | st.just("+"), max_size=4), st.sampled_from([[], ["#"]]))
    .map(lambda parts: "/".join(parts[0] + parts[1]))
    .filter(bool)
)


@given(st.lists(filters, max_size=12, unique=True), st.data(), topics)
def test_the_tree_finds_what_matches(stored: list[str], data: st.DataObject, topic: str) -> None:
    tree: SubscriptionTree[str] = SubscriptionTree()
    for topic_filter in stored:
        tree.add(topic_filter, Subscription(topic_filter))
    removed = data.draw(st.lists(st.sampled_from(stored), unique=True)) if stored else []
    for topic_filter in removed:
        tree.remove(topic_filter, topic_filter)
        tree.remove("nobody", topic_filter)
    left = [each for each in stored if each not in removed]
    found = [name for name, _ in tree.match(topic)]
    assert sorted(found) == sorted(each for each in left if is_match(each, topic))


@given(st.lists(topics, max_size=12), st.data(), filters)
def test_the_retained_store_finds_what_matches(
    stored: list[str], data: st.DataObject, topic_filter: str
) -> None:
    store = RetainedStore(1000, 1_000_000)
    for topic in stored:
        assert store.keep(Message(topic, b"x"))
    removed = data.draw(st.lists(st.sampled_from(stored))) if stored else []
    for topic in [*removed, "never/kept"]:
        store.forget(topic)
    left = set(stored) - set(removed)
    assert len(store) == len(left)
    assert store.size_bytes == sum(Message(each, b"x").size_bytes for each in left)
    found = [message.topic for message in store.match(topic_filter)]
    assert sorted(found) == sorted(each for each in left if is_match(topic_filter, each))


@given(topics, filters)
def test_what_is_generated_is_valid(topic: str, topic_filter: str) -> None:
    validate_topic(topic)
    validate_filter(topic_filter)


@given(st.text(alphabet="a/+#", max_size=8))
def test_a_filter_is_valid_when_every_wildcard_has_a_level_of_its_own(topic_filter: str) -> None:
    parts = topic_filter.split("/")
    lonely = all(part in {"+", "#"} or not set(part) & {"+", "#"} for part in parts)
    valid = bool(topic_filter) and lonely and "#" not in parts[:-1]
    try:
        validate_filter(topic_filter)
    except RemoteProtocolError:
        assert not valid
    else:
        assert valid
