"""QoS 2, both ways."""

import pytest

from broker.local_client import LocalClient
from broker.messages.message import Message
from broker.quota.limits import Limits
from broker.sessions.inbound_qos2 import ID_BYTES
from broker.wire.packets import (
    MQTT_3_1_1,
    MQTT_5,
    Disconnect,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
)
from broker.wire.property_values import Properties
from broker.wire.reasons import Reason
from tests.unit.broker.rig import VERSIONS, Peer, Rig, will


def qos2(packet_id: int, payload: bytes = b"x", topic: str = "a", **options: object) -> Publish:
    return Publish(topic, payload, 2, packet_id=packet_id, **options)  # type: ignore[arg-type]  # test shorthand


def stored(rig: Rig, version: int, client_id: str = "c", **options: object) -> Peer:
    if version == MQTT_5:
        options.setdefault("properties", Properties(session_expiry_s=100))
    return rig.online(client_id, version, clean_start=False, **options)


def publishes(peer: Peer) -> list[Publish]:
    return [each for each in peer.take() if isinstance(each, Publish)]


# -- from a client -----------------------------------------------------------------------------


# [MQTT-4.3.3-8] [MQTT-4.3.3-10] [MQTT-4.3.3-11] [MQTT-4.3.3-12]
@pytest.mark.parametrize("version", VERSIONS)
def test_a_message_is_routed_once_until_its_release(version: int) -> None:
    rig = Rig()
    listener, client = rig.online("l"), stored(rig, version)
    listener.subscribe("a", 1)
    client.send(qos2(7, b"1"), qos2(7, b"1", duplicate=True))
    assert client.take() == [PubRec(7), PubRec(7)]
    client.hang_up()
    client = stored(rig, version)
    client.send(qos2(7, b"1", duplicate=True))
    assert client.take() == [PubRec(7)]
    assert listener.messages() == [("a", b"1")]
    client.send(PubRel(7), qos2(7, b"2"))
    assert client.take() == [PubComp(7), PubRec(7)]
    assert listener.messages() == [("a", b"2")]


# [MQTT-3.7.2-1]
@pytest.mark.parametrize("version", VERSIONS)
def test_an_unknown_release_is_completed_and_counted(version: int) -> None:
    rig = Rig()
    client = rig.online("c", version)
    client.send(PubRel(3))
    reason = Reason.PACKET_ID_NOT_FOUND if version == MQTT_5 else Reason.SUCCESS
    assert client.take() == [PubComp(3, reason)]
    assert rig.core.counters.refused["unknown_packet_id"] == 1


def test_a_session_without_expiry_forgets_what_was_not_released() -> None:
    rig = Rig()
    listener = rig.online("l")
    listener.subscribe("a")
    client = rig.online("c")
    client.send(qos2(1))
    assert rig.core.counters.queued_bytes == ID_BYTES
    client.hang_up()
    assert rig.core.counters.queued_bytes == 0
    rig.online("c").send(qos2(1))
    assert len(listener.messages()) == 2


# [MQTT-3.5.2-1]
@pytest.mark.parametrize("version", VERSIONS)
def test_a_forbidden_topic_goes_nowhere(version: int) -> None:
    rig = Rig()
    rig.rules.no_publish.add("a")
    listener, client = rig.online("l"), rig.online("c", version)
    listener.subscribe("a")
    client.send(qos2(1), qos2(1, duplicate=True))
    reason = Reason.NOT_AUTHORIZED if version == MQTT_5 else Reason.SUCCESS
    assert client.take() == [PubRec(1, reason)] * 2
    assert listener.messages() == []


# [MQTT-3.5.2-1]
def test_nobody_listening_is_said() -> None:
    client = Rig().online("c", MQTT_5)
    client.send(qos2(1))
    assert client.take() == [PubRec(1, Reason.NO_MATCHING_SUBSCRIBERS)]


class Keeper:
    def __init__(self, rig: Rig, topic_filter: str = "a") -> None:
        self.messages: list[Message] = []
        LocalClient(rig.core, "keeper", lambda: rig.now).subscribe(topic_filter, self.handle)

    def handle(self, message: Message) -> None:
        self.messages.append(message)
        if message.hold is not None:
            message.hold.keep()

    def release(self, index: int) -> None:
        hold = self.messages[index].hold
        assert hold is not None
        hold.release()

    def refuse(self, index: int) -> None:
        hold = self.messages[index].hold
        assert hold is not None
        hold.refuse()


# [MQTT-4.3.3-8] [MQTT-4.6.0-3]
@pytest.mark.parametrize("version", VERSIONS)
def test_a_hold_delays_pubrec_and_everything_behind_it(version: int) -> None:
    rig = Rig()
    keeper, client, listener = Keeper(rig), rig.online("c", version), rig.online("l")
    listener.subscribe("free")
    client.send(qos2(1), qos2(2, topic="free"), Publish("free", b"x", 1, packet_id=3))
    assert client.take() == []
    assert keeper.messages[0].qos == 2
    keeper.release(0)
    rig.settle()
    assert client.take() == [PubRec(1), PubRec(2), PubAck(3)]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_held_message_that_comes_again_is_answered_once_it_is_safe(version: int) -> None:
    rig = Rig()
    keeper, client = Keeper(rig), stored(rig, version)
    client.send(qos2(1), qos2(1, duplicate=True))
    client.hang_up()
    client = stored(rig, version)
    client.send(qos2(1, duplicate=True), qos2(1, duplicate=True))
    assert client.take() == []
    assert len(keeper.messages) == 1
    keeper.release(0)
    rig.settle()
    assert client.take() == [PubRec(1)]
    client.send(PubRel(1))
    assert client.take() == [PubComp(1)]


# [MQTT-4.3.3-9]
def test_a_refused_message_may_come_again() -> None:
    rig = Rig()
    keeper, five = Keeper(rig), rig.online("5", MQTT_5)
    for index in range(2):
        five.send(qos2(1))
        keeper.refuse(index)
        rig.settle()
        assert five.take() == [PubRec(1, Reason.QUOTA_EXCEEDED)]
    four = stored(rig, MQTT_3_1_1)
    four.send(qos2(1))
    keeper.refuse(2)
    rig.settle()
    assert four.closed
    stored(rig, MQTT_3_1_1).send(qos2(1, duplicate=True))
    assert len(keeper.messages) == 4


def test_a_decision_after_the_session_changes_nothing() -> None:
    rig = Rig()
    keeper, client = Keeper(rig), rig.online("c")
    client.send(qos2(1))
    client.hang_up()
    again = rig.online("c")
    keeper.release(0)
    rig.settle()
    assert again.take() == []
    assert rig.core.counters.queued_bytes == 0


def test_a_release_before_its_pubrec_closes() -> None:
    rig = Rig()
    Keeper(rig)
    client = rig.online("c", MQTT_5)
    client.send(qos2(1), PubRel(1))
    (packet,) = client.take()
    assert isinstance(packet, Disconnect)
    assert packet.reason == Reason.PROTOCOL_ERROR


# [MQTT-3.3.4-7]
@pytest.mark.parametrize("is_plain", [True, False])
def test_more_than_the_receive_maximum_closes(is_plain: bool) -> None:
    rig = Rig(Limits(holds=3))
    if is_plain:  # else the answers say that nobody is there
        rig.online("s").subscribe("a", 2)
    client = rig.online("c", MQTT_5)
    client.send(*(qos2(each) for each in (1, 2, 3)))
    client.send(PubRel(2), qos2(4))
    assert not client.closed
    client.take()
    client.send(qos2(5))
    (packet,) = client.take()
    assert isinstance(packet, Disconnect)
    assert packet.reason == Reason.RECEIVE_MAXIMUM_EXCEEDED


# [MQTT-4.9.0-1]
def test_the_receive_maximum_starts_anew_with_a_connection() -> None:
    rig = Rig(Limits(holds=2))
    client = stored(rig, MQTT_5)
    client.send(qos2(1), qos2(2))
    client.hang_up()
    client = stored(rig, MQTT_5)
    client.send(qos2(3), qos2(4))
    assert not client.closed


@pytest.mark.parametrize("limits", [Limits(unreleased=2), Limits(queued_bytes_total=4 * ID_BYTES)])
def test_packet_ids_kept_are_limited(limits: Limits) -> None:
    rig = Rig(limits)
    five, four = rig.online("5", MQTT_5), rig.online("4")
    five.send(*(qos2(each) for each in (1, 2, 3)))
    assert five.take()[2] == PubRec(3, Reason.QUOTA_EXCEEDED)
    five.hang_up()
    four.send(*(qos2(each) for each in (1, 2, 3)))
    assert four.take() == [PubRec(1), PubRec(2)]
    assert four.closed
    assert rig.core.counters.dropped["too_many_unreleased"] == 2


@pytest.mark.parametrize("version", VERSIONS)
def test_a_will_and_a_local_message_at_qos_2(version: int) -> None:
    rig = Rig()
    listener = rig.online("l")
    listener.subscribe("#", 2)
    rig.online("c", version, will=will(qos=2)).hang_up()
    LocalClient(rig.core, "local", lambda: rig.now).publish("b", b"x", qos=2)
    rig.settle()
    assert [(each.topic, each.qos) for each in publishes(listener)] == [("will", 2), ("b", 2)]


# -- to a client -------------------------------------------------------------------------------


# [MQTT-3.8.4-8]
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("published", [0, 1, 2])
@pytest.mark.parametrize("granted", [0, 1, 2])
@pytest.mark.parametrize("retain", [False, True])
def test_delivers_at_the_lower_qos(
    version: int, published: int, granted: int, retain: bool
) -> None:
    rig = Rig()
    sender, client = rig.online("s"), rig.online("c", version)
    if retain:
        sender.publish("a", qos=published, retain=True)
        arrived = client.subscribe("a", granted)
    else:
        client.subscribe("a", granted)
        sender.publish("a", qos=published)
        arrived = client.take()
    (packet,) = arrived
    assert isinstance(packet, Publish)
    assert packet.qos == min(published, granted)


# [MQTT-2.2.1-5] [MQTT-4.3.3-4]
@pytest.mark.parametrize("version", VERSIONS)
def test_the_four_packets_of_a_delivery(version: int) -> None:
    rig = Rig()
    client, sender = rig.online("c", version), rig.online("s")
    client.subscribe("a", 2)
    sender.send(qos2(9, b"1"))
    (packet,) = publishes(client)
    assert packet.packet_id is not None
    client.send(PubRec(packet.packet_id))
    assert client.take() == [PubRel(packet.packet_id)]
    client.send(PubRec(packet.packet_id))  # again
    assert client.take() == [PubRel(packet.packet_id)]
    client.send(PubComp(packet.packet_id))
    assert client.take() == []
    assert rig.core.counters.queued_bytes == ID_BYTES  # the sender's
    assert rig.core.counters.refused["unknown_packet_id"] == 0


# [MQTT-2.2.1-5] [MQTT-4.3.3-3] [MQTT-4.3.3-5] [MQTT-4.3.3-6] [MQTT-4.4.0-1]
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("next_version", VERSIONS)
def test_after_a_reconnect_everything_goes_on_where_it_was(version: int, next_version: int) -> None:
    rig = Rig()
    client, sender = stored(rig, version), rig.online("s")
    client.subscribe("a", 2)
    sender.send(*(qos2(each, b"%d" % each) for each in (1, 2, 3)))
    one, two, three = (each.packet_id for each in publishes(client))
    assert one is not None
    assert two is not None
    assert three is not None
    client.send(PubRec(two), PubRec(one), PubComp(two))
    client.hang_up()
    client = stored(rig, next_version)
    first, second = client.take()
    assert isinstance(first, Publish)
    assert (first.packet_id, first.payload, first.duplicate) == (three, b"3", True)
    assert second == PubRel(one)
    client.send(PubComp(one), PubRec(three))
    assert client.take() == [PubRel(three)]
    client.send(PubComp(three))
    client.hang_up()
    assert stored(rig, next_version).take() == []


# [MQTT-4.6.0-4]
def test_releases_are_sent_again_in_the_order_of_their_pubrecs() -> None:
    rig = Rig()
    client, sender = stored(rig, MQTT_5), rig.online("s")
    client.subscribe("a", 2)
    sender.send(qos2(1), qos2(2))
    one, two = (each.packet_id or 0 for each in publishes(client))
    client.send(PubRec(two), PubRec(one))
    client.hang_up()
    assert stored(rig, MQTT_5).take() == [PubRel(two), PubRel(one)]


# [MQTT-4.4.0-2] [MQTT-4.9.0-2]
def test_a_message_that_is_not_released_fills_the_window() -> None:
    rig = Rig()
    client = rig.online("c", MQTT_5, properties=Properties(receive_maximum=1))
    client.subscribe("a", 2)
    rig.online("s").send(qos2(1, b"1"), qos2(2, b"2"), Publish("a", b"3", 1, packet_id=3))
    (first,) = publishes(client)
    assert first.packet_id is not None
    client.send(PubRec(first.packet_id))
    assert client.take() == [PubRel(first.packet_id)]
    client.send(PubComp(first.packet_id))
    (second,) = publishes(client)
    assert (second.payload, second.qos) == (b"2", 2)
    assert second.packet_id is not None
    client.send(PubRec(second.packet_id, Reason.QUOTA_EXCEEDED))
    (third,) = publishes(client)
    assert (third.payload, third.qos) == (b"3", 1)
    assert rig.core.counters.dropped["refused_by_receiver"] == 1


@pytest.mark.parametrize("fault", [PubAck, PubComp])
def test_the_wrong_acknowledgement_ends_no_message(fault: type[PubAck] | type[PubComp]) -> None:
    rig = Rig()
    client, sender = stored(rig, MQTT_5), rig.online("s")
    client.subscribe("a", 2)
    sender.send(qos2(1), Publish("a", b"x", 1, packet_id=2))
    double, single = (each.packet_id or 0 for each in publishes(client))
    client.send(fault(double) if fault is PubAck else fault(single))
    assert client.closed
    again = stored(rig, MQTT_5).take()
    assert [each.packet_id for each in again if isinstance(each, Publish)] == [double, single]


# [MQTT-3.6.2-1]
def test_unknown_and_late_acknowledgements_end_nothing() -> None:
    rig = Rig()
    client, sender = stored(rig, MQTT_5), rig.online("s")
    client.subscribe("a", 2)
    sender.send(qos2(1), Publish("a", b"x", 1, packet_id=2))
    double, single = (each.packet_id or 0 for each in publishes(client))
    client.send(PubAck(900), PubComp(900), PubRec(900))
    assert client.take() == [PubRel(900, Reason.PACKET_ID_NOT_FOUND)]
    assert rig.core.counters.refused["unknown_packet_id"] == 3
    client.send(PubRec(double), PubRec(double, Reason.UNSPECIFIED_ERROR))
    client.take()
    client.hang_up()
    again = stored(rig, MQTT_5).take()
    assert again[1:] == [PubRel(double)]
    assert isinstance(again[0], Publish)
    assert again[0].packet_id == single


# [MQTT-4.5.0-1]
def test_what_waits_for_an_absent_client_keeps_its_qos() -> None:
    rig = Rig()
    client = stored(rig, MQTT_3_1_1)
    client.subscribe("a", 2)
    client.hang_up()
    sender = rig.online("s")
    for qos in (1, 2, 1):
        sender.publish("a", qos=qos, packet_id=qos)
    assert [each.qos for each in publishes(stored(rig, MQTT_3_1_1))] == [1, 2, 1]


# [MQTT-3.1.2-25]
def test_what_the_next_connection_cannot_take_is_given_up() -> None:
    rig = Rig()
    client = stored(rig, MQTT_5)
    client.subscribe("a", 2)
    rig.online("s").send(qos2(1, b"x" * 100))
    (packet,) = publishes(client)
    client.hang_up()
    narrow = Properties(session_expiry_s=100, maximum_packet_bytes=50)
    client = stored(rig, MQTT_5, properties=narrow)
    client.send(PubRec(packet.packet_id or 0))
    assert client.take() == [PubRel(packet.packet_id or 0, Reason.PACKET_ID_NOT_FOUND)]
    assert rig.core.counters.dropped["packet_too_large"] == 1
