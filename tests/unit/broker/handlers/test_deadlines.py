"""A client that is silent for longer than its keep-alive allows is closed."""

import pytest

from broker.quota.limits import Limits
from broker.wire.packets import MQTT_3_1_1, MQTT_5, ConnAck, Disconnect, PingReq
from broker.wire.reasons import Reason
from tests.unit.broker.rig import Rig

ASKED = [(0, 60), (59, None), (60, None), (61, 60), (65_535, 60)]


@pytest.mark.parametrize(("asked_s", "told_s"), ASKED)
def test_a_shorter_keep_alive_is_imposed_and_told(asked_s: int, told_s: int | None) -> None:
    rig = Rig(Limits(keep_alive_s=60))
    client = rig.connect("c", MQTT_5, keep_alive_s=asked_s)
    (answer,) = client.take()
    assert isinstance(answer, ConnAck)
    assert answer.properties.server_keep_alive_s == told_s  # [MQTT-3.2.2-21]
    holds_s = told_s or asked_s
    rig.pass_time(1.5 * holds_s)
    client.send(PingReq())
    assert not client.closed
    rig.pass_time(1.5 * holds_s + 1)
    *_, packet = client.take()
    assert isinstance(packet, Disconnect)
    assert packet.reason == Reason.KEEP_ALIVE_TIMEOUT


@pytest.mark.parametrize("version", [MQTT_3_1_1, MQTT_5])
@pytest.mark.parametrize("asked_s", [0, 100])
def test_by_default_it_is_the_clients(version: int, asked_s: int) -> None:
    rig = Rig()
    client = rig.connect("c", version, keep_alive_s=asked_s)
    (answer,) = client.take()
    assert isinstance(answer, ConnAck)
    assert answer.properties.server_keep_alive_s is None
    rig.pass_time(150)
    assert not client.closed
    rig.pass_time(100_000)
    assert client.closed is bool(asked_s)


def test_3_1_1_keeps_its_own() -> None:
    rig = Rig(Limits(keep_alive_s=60))
    never, long = rig.online("n", keep_alive_s=0), rig.online("l", keep_alive_s=1000)
    rig.pass_time(1400)
    assert not never.closed
    assert not long.closed
    rig.pass_time(200)
    assert not never.closed
    assert long.closed
