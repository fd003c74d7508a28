import pytest

from broker.quota.limits import Limits
from broker.wire.packets import (
    MQTT_3_1_1,
    MQTT_5,
    ConnAck,
    Disconnect,
    PubAck,
    PubComp,
    Publish,
    PubRec,
)
from broker.wire.property_values import NEVER_EXPIRES, Properties
from broker.wire.reasons import Reason
from tests.unit.broker.rig import VERSIONS, Peer, Rig, will

KEPT = Properties(session_expiry_s=100)


def stored(rig: Rig, client_id: str, version: int, **options: object) -> Peer:
    if version == MQTT_5:
        options.setdefault("properties", KEPT)
    return rig.online(client_id, version, clean_start=False, **options)


def publishes(peer: Peer) -> list[Publish]:
    return [each for each in peer.take() if isinstance(each, Publish)]


# [MQTT-3.1.2-5] [MQTT-3.1.2-23] [MQTT-3.2.2-3] [MQTT-4.5.0-1]
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("next_version", VERSIONS)
def test_a_stored_session_keeps_subscriptions_and_qos_1_messages(
    version: int, next_version: int
) -> None:
    rig = Rig()
    away = stored(rig, "away", version)
    away.subscribe("a", 1)
    away.hang_up()
    sender = rig.online("s")
    sender.publish("a", b"0", qos=0)
    sender.publish("a", b"1", qos=1)
    back = rig.connect("away", next_version, clean_start=False, properties=KEPT)
    answer, *rest = back.take()
    assert isinstance(answer, ConnAck)
    assert answer.session_present
    assert [(each.payload, each.duplicate) for each in rest if isinstance(each, Publish)] == [
        (b"1", False)
    ]


# [MQTT-3.3.1-1] [MQTT-4.3.2-3] [MQTT-4.4.0-1] [MQTT-4.6.0-1]
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("next_version", VERSIONS)
def test_what_was_not_acknowledged_comes_again_with_the_same_id(
    version: int, next_version: int
) -> None:
    rig = Rig()
    client = stored(rig, "c", version)
    client.subscribe("a", 1)
    sender = rig.online("s")
    for number in range(4):
        sender.publish("a", b"%d" % number, qos=1)
    sent = publishes(client)
    assert sent[1].packet_id is not None
    client.send(PubAck(sent[1].packet_id))
    client.hang_up()
    again = publishes(stored(rig, "c", next_version))
    assert [(each.payload, each.packet_id) for each in again] == [
        (each.payload, each.packet_id) for each in (sent[0], sent[2], sent[3])
    ]
    assert all(each.duplicate for each in again)


# [MQTT-3.3.4-9] [MQTT-4.6.0-5] [MQTT-4.9.0-1]
def test_what_is_sent_again_keeps_within_a_smaller_receive_maximum() -> None:
    rig = Rig()
    client = stored(rig, "c", MQTT_5)
    client.subscribe("a", 1)
    sender = rig.online("s")
    for number in range(3):
        sender.publish("a", b"%d" % number, qos=1)
    client.hang_up()
    narrow = Properties(session_expiry_s=100, receive_maximum=1)
    back = stored(rig, "c", MQTT_5, properties=narrow)
    sender.publish("a", b"3", qos=1)
    seen = []
    while arrived := publishes(back):
        (packet,) = arrived
        assert packet.packet_id is not None
        seen.append((packet.payload, packet.duplicate))
        back.send(PubAck(packet.packet_id))
    assert seen == [(b"0", True), (b"1", True), (b"2", True), (b"3", False)]


# [MQTT-4.4.0-1] [MQTT-4.9.0-1]
@pytest.mark.parametrize("qos", [1, 2])
def test_all_is_sent_again_within_a_smaller_receive_maximum_though_nothing_follows(
    qos: int,
) -> None:
    rig = Rig()
    client = stored(rig, "c", MQTT_5)
    client.subscribe("a", qos)
    sender = rig.online("s")
    for number in range(5):
        sender.publish("a", b"%d" % number, qos=qos, packet_id=number + 1)
    client.hang_up()
    narrow = Properties(session_expiry_s=100, receive_maximum=2)
    back = stored(rig, "c", MQTT_5, properties=narrow)
    seen = []
    while arrived := publishes(back):
        assert len(arrived) <= 2
        for packet in arrived:
            assert packet.packet_id is not None
            seen.append((packet.payload, packet.duplicate))
            if qos == 1:
                back.send(PubAck(packet.packet_id))
            else:
                back.send(PubRec(packet.packet_id), PubComp(packet.packet_id))
    assert seen == [(b"%d" % number, True) for number in range(5)]


# [MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2]
def test_receive_maximum_is_honoured_and_the_rest_waits() -> None:
    rig = Rig()
    client = rig.online("c", MQTT_5, properties=Properties(receive_maximum=2))
    client.subscribe("a", 1)
    sender = rig.online("s")
    for number in range(5):
        sender.publish("a", b"%d" % number, qos=1)
    first, second = publishes(client)
    assert first.packet_id is not None
    client.send(PubAck(first.packet_id))
    (third,) = publishes(client)
    assert [first.payload, second.payload, third.payload] == [b"0", b"1", b"2"]


# [MQTT-3.1.2-4] [MQTT-3.1.4-4] [MQTT-3.2.2-2]
@pytest.mark.parametrize("version", VERSIONS)
def test_clean_start_forgets(version: int) -> None:
    rig = Rig()
    client = stored(rig, "c", version)
    client.subscribe("a", 1)
    client.hang_up()
    rig.online("s").publish("a", qos=1)
    answer = rig.connect("c", version, clean_start=True).take()
    assert len(answer) == 1
    assert isinstance(answer[0], ConnAck)
    assert not answer[0].session_present
    assert rig.core.counters.subscriptions == 0
    assert rig.core.counters.queued_bytes == 0


# [MQTT-3.1.2-6] [MQTT-3.2.2-3] [MQTT-4.1.0-2]
@pytest.mark.parametrize("version", VERSIONS)
def test_a_clean_session_ends_with_its_connection(version: int) -> None:
    rig = Rig()
    client = rig.online("c", version)
    client.subscribe("a", 1)
    client.hang_up()
    assert rig.core.counters.subscriptions == 0
    (answer,) = rig.connect("c", version, clean_start=False).take()
    assert isinstance(answer, ConnAck)
    assert not answer.session_present


# [MQTT-4.1.0-2]
def test_a_session_expires() -> None:
    rig = Rig()
    client = stored(rig, "c", MQTT_5)
    client.subscribe("a", 1)
    client.hang_up()
    rig.pass_time(99)
    assert rig.core.counters.subscriptions == 1
    rig.pass_time(1)
    assert rig.core.counters.subscriptions == 0


def test_disconnect_may_change_the_expiry_but_not_from_none() -> None:
    rig = Rig()
    client = stored(rig, "c", MQTT_5)
    client.send(Disconnect(properties=Properties(session_expiry_s=5)))
    rig.pass_time(5)
    (answer,) = rig.connect("c", MQTT_5, clean_start=False).take()
    assert isinstance(answer, ConnAck)
    assert not answer.session_present
    other = rig.online("o", MQTT_5)
    other.send(Disconnect(properties=Properties(session_expiry_s=5)))
    (packet,) = other.take()
    assert isinstance(packet, Disconnect)
    assert packet.reason == Reason.PROTOCOL_ERROR


def test_a_longer_expiry_than_allowed_is_cut_and_said() -> None:
    rig = Rig(Limits(session_expiry_s=60))
    asked = Properties(session_expiry_s=NEVER_EXPIRES)
    (answer,) = rig.connect("c", MQTT_5, properties=asked).take()
    assert isinstance(answer, ConnAck)
    assert answer.properties.session_expiry_s == 60


# [MQTT-3.1.4-3]
def test_the_second_connection_takes_the_session_over() -> None:
    rig = Rig()
    first = stored(rig, "c", MQTT_5)
    first.subscribe("a", 1)
    second = stored(rig, "c", MQTT_5)
    (packet,) = first.take()
    assert isinstance(packet, Disconnect)
    assert packet.reason == Reason.SESSION_TAKEN_OVER
    assert first.closed
    first.hang_up()
    rig.online("s").publish("a", b"for the second", qos=1)
    assert second.messages() == [("a", b"for the second")]


def test_a_publisher_finds_a_subscriber_again_that_came_back() -> None:
    rig = Rig()
    sender, client = rig.online("s"), stored(rig, "c", MQTT_5)
    client.subscribe("a", 1)
    for qos in (0, 1):
        sender.publish("a", b"first", qos=qos)
    client.hang_up()
    sender.publish("a", b"away", qos=1)
    back = stored(rig, "c", MQTT_5)
    back.take()
    for qos in (0, 1):
        sender.publish("a", b"back", qos=qos)
    assert back.messages() == [("a", b"back")] * 2


# [MQTT-3.1.3-9] of 3.1.1
def test_nobody_takes_the_session_of_another_identity() -> None:
    rig = Rig()
    victim = rig.online("c", name="victim")
    (answer,) = rig.connect("c", name="thief").take()
    assert answer == ConnAck(2)
    assert not victim.closed


# [MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT-3.1.2-10] [MQTT-3.1.2-15] [MQTT-3.14.4-3]
@pytest.mark.parametrize("version", VERSIONS)
def test_a_will_is_published_unless_taken_back(version: int) -> None:
    rig = Rig()
    watcher = rig.online("w")
    watcher.subscribe("will", 1)
    rig.online("polite", version, will=will()).send(Disconnect())
    assert watcher.messages() == []
    rig.online("rude", version, will=will(b"rude", qos=1, retain=True)).hang_up()
    assert watcher.messages() == [("will", b"rude")]
    late = rig.online("late")
    (packet,) = late.subscribe("will")
    assert isinstance(packet, Publish)
    assert packet.retain


# [MQTT-3.1.2-8]
def test_a_will_goes_with_a_disconnect_that_asks_for_it_and_with_a_protocol_error() -> None:
    rig = Rig()
    watcher = rig.online("w")
    watcher.subscribe("will")
    rig.online("a", MQTT_5, will=will(b"a")).send(Disconnect(Reason.DISCONNECT_WITH_WILL))
    rig.online("b", will=will(b"b")).send_bytes(b"\x00\x00")
    assert watcher.messages() == [("will", b"a"), ("will", b"b")]


# [MQTT-3.1.2-8] [MQTT-3.1.2-10] [MQTT-3.1.3-9]
def test_a_will_waits_for_its_delay_or_the_end_of_the_session() -> None:
    rig = Rig()
    watcher = rig.online("w")
    watcher.subscribe("will")
    stored(rig, "delay", MQTT_5, will=will(b"delay", delay_s=10)).hang_up()
    short = Properties(session_expiry_s=5)
    stored(rig, "end", MQTT_5, will=will(b"end", delay_s=50), properties=short).hang_up()
    stored(rig, "back", MQTT_5, will=will(b"back", delay_s=10)).hang_up()
    assert watcher.messages() == []
    stored(rig, "back", MQTT_5)
    rig.pass_time(5)
    assert watcher.messages() == [("will", b"end")]
    rig.pass_time(5)
    assert watcher.messages() == [("will", b"delay")]
    rig.pass_time(1000)
    assert watcher.messages() == []


# [MQTT-3.1.2-8] [MQTT-3.1.3-9]
def test_a_take_over_publishes_the_will_at_once_unless_it_is_delayed() -> None:
    rig = Rig()
    watcher = rig.online("w")
    watcher.subscribe("will")
    stored(rig, "a", MQTT_5, will=will(b"now"))
    stored(rig, "a", MQTT_5, will=will(b"later", delay_s=60))
    assert watcher.messages() == [("will", b"now")]
    stored(rig, "a", MQTT_5)
    rig.pass_time(60)
    assert watcher.messages() == []


def test_a_forbidden_will_is_dropped_and_counted() -> None:
    rig = Rig()
    rig.rules.no_publish.add("will")
    watcher = rig.online("w")
    watcher.subscribe("will")
    rig.online("c", will=will()).hang_up()
    assert watcher.messages() == []
    assert rig.core.counters.dropped["will_not_authorized"] == 1


# [MQTT-3.1.2-22] [MQTT-3.2.2-22]
def test_silence_beyond_one_and_a_half_keep_alives_closes() -> None:
    rig = Rig()
    five, four = rig.online("5", MQTT_5, keep_alive_s=10), rig.online("4", keep_alive_s=10)
    forever = rig.online("0")
    rig.pass_time(15)
    assert not five.closed
    assert not four.closed
    rig.pass_time(1)
    (packet,) = five.take()
    assert isinstance(packet, Disconnect)
    assert packet.reason == Reason.KEEP_ALIVE_TIMEOUT
    assert four.closed
    assert not forever.closed


def test_stored_sessions_are_limited() -> None:
    rig = Rig(Limits(stored_sessions=1))
    stored(rig, "a", MQTT_3_1_1).hang_up()
    (answer,) = rig.connect("b", clean_start=False).take()
    assert answer == ConnAck(3)
    rig.online("c")


def test_cutting_an_identity_closes_forgets_and_says_how_many() -> None:
    rig = Rig()
    one, two = rig.online("1", MQTT_5, name="n"), stored(rig, "2", MQTT_3_1_1, name="n")
    away = stored(rig, "3", MQTT_3_1_1, name="n")
    other = rig.online("4", name="other")
    for peer in (two, away):
        peer.subscribe("a", 1)
    away.hang_up()
    assert rig.core.admin.connected() == {"n", "other"}
    assert rig.core.admin.disconnect("n", rig.now) == 2
    rig.settle()
    assert one.closed
    assert two.closed
    assert not other.closed
    assert rig.core.counters.subscriptions == 0
    assert rig.core.admin.connected() == {"other"}


def test_a_right_taken_away_takes_subscriptions_and_waiting_messages() -> None:
    rig = Rig()
    online = rig.online("on")
    online.subscribe("secret")
    away = stored(rig, "away", MQTT_3_1_1)
    away.subscribe("secret", 1)
    away.subscribe("open", 1)
    away.hang_up()
    sender = rig.online("s")
    sender.publish("secret", b"1", qos=1)
    sender.publish("open", b"2", qos=1)
    online.take()
    rig.rules.no_subscribe.add("secret")
    rig.core.admin.rights_changed()
    sender.publish("secret", b"3", qos=1)
    assert online.messages() == []
    assert stored(rig, "away", MQTT_3_1_1).messages() == [("open", b"2")]
    assert rig.core.counters.subscriptions == 1
    assert rig.core.counters.dropped["not_authorized"] == 1


def test_everybody_is_told_when_the_broker_stops() -> None:
    rig = Rig()
    five, four = rig.online("5", MQTT_5, will=will()), rig.online("4")
    rig.core.shut_down(rig.now)
    rig.settle()
    (packet,) = five.take()
    assert isinstance(packet, Disconnect)
    assert packet.reason == Reason.SERVER_SHUTTING_DOWN
    assert four.closed
    assert four.take() == []
