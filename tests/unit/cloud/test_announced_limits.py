"""The cloud announces to nodes what its broker denies them."""

from hypothesis import example, given
from hypothesis import strategies as st

from broker import Identity, Limits
from cloud.broker_policy import NODES, TopicAuthorizer, announce
from gateway.uplink.limits import find_fault
from protocol.topics import uplinked

NODE = "ab" * 28
LEVEL = st.sampled_from(["down", "up", "", "a", "downs"])


# case G18
@given(st.lists(LEVEL, min_size=1, max_size=4).map("/".join))
@example("down")
@example("down/")
def test_a_topic_is_denied_by_the_broker_if_and_only_if_it_is_announced(topic: str) -> None:
    authorizer = TopicAuthorizer(lambda _node_id: "")
    allowed = authorizer.may_publish(Identity(NODE, NODE, NODES), uplinked(NODE, topic))
    assert allowed is not bool(find_fault(announce(Limits()), NODE, topic, 0))


def test_the_limits_of_the_broker_are_announced() -> None:
    announced = announce(Limits(topic_levels=7, topic_bytes=99, packet_bytes=1234))
    assert (announced.topic_levels, announced.topic_bytes, announced.packet_bytes) == (7, 99, 1234)
