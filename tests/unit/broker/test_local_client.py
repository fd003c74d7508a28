from broker.local_client import LocalClient
from broker.quota.limits import Limits
from broker.wire.packets import MQTT_5, Publish
from broker.wire.property_values import Properties
from tests.unit.broker.rig import Rig


def test_a_message_is_sent_to_one_session_alone() -> None:
    rig = Rig()
    local = LocalClient(rig.core, "here", lambda: rig.now)
    answers: list[bool] = []
    one, other = rig.online("one", MQTT_5), rig.online("other", MQTT_5)
    other.subscribe("t", 1)
    assert local.send("one", "t", b"x", answers.append, user_properties=(("k", "v"),))
    rig.settle()
    (got,) = one.take()
    assert isinstance(got, Publish)
    assert (got.topic, got.payload, got.qos, got.retain) == ("t", b"x", 1, False)
    assert got.properties == Properties(user_properties=(("k", "v"),))
    assert other.messages() == []
    assert answers == [True]
    assert not local.send("nobody", "t", b"x", answers.append)
    assert answers == [True]


def test_a_session_without_room_takes_no_message() -> None:
    rig = Rig(Limits(in_flight=2, queued_messages=3))
    local = LocalClient(rig.core, "here", lambda: rig.now)
    rig.online("one", MQTT_5)
    answers: list[bool] = []
    taken = [local.send("one", "t", b"x", answers.append) for _ in range(50)]
    assert taken == [True] * 5 + [False] * 45
    assert rig.core.counters.messages_dropped == 0
