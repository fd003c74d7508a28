"""$SYS topics: what the broker says of itself, to whom, and that nobody else says it."""

from __future__ import annotations

from math import exp
from typing import TYPE_CHECKING

import pytest

from broker.core import Core
from broker.local_client import LocalClient
from broker.quota.counters import BrokerCounters
from broker.quota.limits import Limits
from broker.sys_topics import BrokerGauges, SysTopics, SysTopicSettings
from broker.wire.packets import (
    MQTT_3_1_1,
    MQTT_5,
    PingReq,
    PubAck,
    Publish,
    PubRec,
    PubRel,
    Will,
)
from broker.wire.reasons import Reason
from tests.unit.broker.rig import Rig

if TYPE_CHECKING:
    from broker.messages.message import Message

INTERVAL_S = 10.0


class Told(Rig):
    """A rig whose broker says how it is."""

    def __init__(self, limits: Limits | None = None, interval_s: float = INTERVAL_S) -> None:
        super().__init__(limits)
        self.core = Core(
            self.rules,
            limits or Limits(),
            lambda: None,
            reporting=SysTopicSettings(interval_s, "hecate version 1"),
        )

    def values(self) -> dict[str, str]:
        """Return what a client that subscribes now is told."""
        found = self.core.retained("$SYS/#", self.now)
        return {each.topic.removeprefix("$SYS/broker/"): each.payload.decode() for each in found}


def test_what_is_told() -> None:
    rig = Told()
    rig.pass_time(1)
    client = rig.online("c", clean_start=False)
    client.subscribe("a", 1)
    client.subscribe("$share/g/b")
    client.hang_up()
    other = rig.online("o")
    other.publish("a", b"12345", qos=1, retain=True)
    other.publish("none")
    rig.pass_time(INTERVAL_S)
    values = rig.values()
    assert values["version"] == "hecate version 1"
    assert values["uptime"] == "10 seconds"
    assert values["clients/total"] == "2"
    assert (values["clients/connected"], values["clients/active"]) == ("1", "1")
    assert (values["clients/disconnected"], values["clients/inactive"]) == ("1", "1")
    assert values["clients/maximum"] == "1"
    assert values["publish/messages/received"] == "2"
    assert values["messages/received"] == "6"  # 2 CONNECTs, 2 SUBSCRIBEs
    assert values["messages/sent"] == "5"  # 2 CONNACKs, 2 SUBACKs, 1 PUBACK
    assert values["messages/stored"] == values["store/messages/count"] == "2"
    assert int(values["store/messages/bytes"]) > 400
    assert (values["subscriptions/count"], values["shared_subscriptions/count"]) == ("1", "1")
    assert values["retained messages/count"] == "1"
    assert int(values["bytes/received"]) > int(values["publish/bytes/received"]) == 12 + 9
    assert values["load/sockets/1min"] == values["load/connections/1min"] != "0.00"


def test_an_interval_of_zero_tells_nothing() -> None:
    rig = Told(interval_s=0)
    rig.pass_time(1000)
    assert rig.values() == {}


def test_clients_that_expired() -> None:
    rig = Told()
    rig.online("c", MQTT_3_1_1, clean_start=False).hang_up()
    rig.pass_time(8 * 86_400)
    rig.pass_time(INTERVAL_S)
    assert rig.values()["clients/expired"] == "1"


def test_packets_of_the_hot_path_are_counted() -> None:
    rig = Told()
    one, two = rig.online("one"), rig.online("two", MQTT_5)
    two.subscribe("a", 2)
    for number in range(1, 6):
        one.send(Publish("a", b"x", 1, packet_id=number))
    two.send(*[each for each in map(_answer, two.take()) if each])
    one.send(Publish("a", b"x", 2, packet_id=9), PubRel(9))
    two.send(PubRec(6))
    counters = rig.core.counters
    assert counters.messages_received == counters.messages_sent == 6
    # CONNECT, CONNECT, SUBSCRIBE, 5 PUBACK, PUBREL, PUBREC
    assert counters.controls_received == 10
    # CONNACK, CONNACK, SUBACK, 5 PUBACK, PUBREC, PUBCOMP, PUBREL
    assert counters.controls_sent == 11
    publishes = 5 * 8 + 8
    assert counters.bytes_received - counters.control_bytes_received == publishes
    assert counters.bytes_sent - counters.control_bytes_sent == publishes + 6  # no properties


def _answer(packet: object) -> PubAck | None:
    return PubAck(packet.packet_id or 0) if isinstance(packet, Publish) else None


def test_loads_are_moving_averages_per_minute() -> None:
    counters = BrokerCounters()
    topics = SysTopics(counters, SysTopicSettings(INTERVAL_S))
    assert dict(topics.report(BrokerGauges(), 0.0))["$SYS/broker/load/bytes/sent/1min"] == b"0.00"
    counters.bytes_sent += 1000
    told = dict(topics.report(BrokerGauges(), 10.0))
    for name, window_s in (("1min", 60), ("5min", 300), ("15min", 900)):
        expected = 6000 * (1 - exp(-10 / window_s))
        assert float(told[f"$SYS/broker/load/bytes/sent/{name}"]) == pytest.approx(
            expected, abs=0.01
        )
    for second in range(20, 2000, 10):
        counters.bytes_sent += 1000
        told |= dict(topics.report(BrokerGauges(), float(second)))
    assert float(told["$SYS/broker/load/bytes/sent/1min"]) == pytest.approx(6000, rel=0.01)


def test_only_what_changed_is_told_again() -> None:
    topics = SysTopics(BrokerCounters(), SysTopicSettings(INTERVAL_S))
    first = dict(topics.report(BrokerGauges(), 0.0))
    assert len(first) == 53
    assert topics.is_due(9.9) is False
    assert topics.is_due(10.0) is True
    second = dict(topics.report(BrokerGauges(online=1), 10.0))
    assert sorted(name.removeprefix("$SYS/broker/") for name in second) == [
        "clients/active", "clients/connected", "clients/maximum", "clients/total", "uptime",
    ]  # fmt: skip


def test_a_subscriber_is_told_at_once_and_then_what_changes() -> None:
    rig = Told()
    rig.pass_time(1)
    client = rig.online("c", MQTT_5)
    first = client.subscribe("$SYS/broker/uptime", 2)
    assert first == [Publish("$SYS/broker/uptime", b"0 seconds", retain=True)]
    rig.pass_time(INTERVAL_S)
    assert client.take() == [Publish("$SYS/broker/uptime", b"10 seconds")]
    client.subscribe("$SYS/broker/uptime", 2, retain_as_published=True)
    client.take()
    rig.pass_time(INTERVAL_S)
    assert client.take() == [Publish("$SYS/broker/uptime", b"20 seconds", retain=True)]


def test_it_is_neither_queued_nor_bound_nor_counted_as_retained() -> None:
    rig = Told(Limits(retained_messages=1))
    client = rig.online("c", clean_start=False)
    client.subscribe("$SYS/#", 2)
    client.hang_up()
    rig.pass_time(INTERVAL_S)
    rig.pass_time(INTERVAL_S)
    assert rig.core.counters.queued_bytes == 0
    assert rig.core.counters.retained == 0
    assert len(rig.values()) == 53


def test_wildcards_do_not_match_it() -> None:
    rig = Told()
    client = rig.online("c")
    client.subscribe("#")
    client.subscribe("+/broker/uptime")
    rig.pass_time(INTERVAL_S)
    assert client.messages() == []
    assert rig.online("d").subscribe("#") == []


def test_a_client_without_the_right_is_refused() -> None:
    rig = Told()
    rig.rules.no_subscribe.add("$SYS/#")
    with pytest.raises(AssertionError, match="SubAck"):
        rig.online("c").subscribe("$SYS/#")


def test_no_client_may_publish_to_it() -> None:
    rig = Told()
    rig.pass_time(1)
    got: list[Message] = []
    LocalClient(rig.core, "me", lambda: rig.now).subscribe("$SYS/broker/version", got.append)
    client = rig.online("c", MQTT_5, will=Will("$SYS/broker/version", b"forged", retain=True))
    for topic in ("$SYS/broker/version", "$SYS", "$SYS/"):
        client.publish(topic, b"forged", qos=1, retain=True)
    client.publish("$SYS/broker/version", b"forged")
    assert client.take() == [PubAck(1, Reason.NOT_AUTHORIZED)] * 3
    client.hang_up()
    assert [each.payload for each in got] == [b"hecate version 1"]
    assert rig.core.counters.dropped == {"publish_not_authorized": 4, "will_not_authorized": 1}
    client = rig.online("d", MQTT_5)
    client.publish("$SYSTEM", b"other", qos=1)
    assert client.take() == [PubAck(1, Reason.NO_MATCHING_SUBSCRIBERS)]
    client.send(PingReq())
    assert rig.online("e").subscribe("$SYS/broker/clients/expired")[0] == Publish(
        "$SYS/broker/clients/expired", b"0", retain=True
    )
