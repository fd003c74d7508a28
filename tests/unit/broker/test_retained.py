"""Retained messages that have expired are forgotten, a few at a time."""

import pytest

from broker import core
from broker.packets import MQTT_5, Publish
from broker.properties import Properties
from tests.unit.broker.rig import Rig


def test_expired_ones_are_forgotten_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "EXPIRIES", 2)
    rig = Rig()
    client = rig.online("c", MQTT_5)
    for number in range(6):
        soon = Properties(message_expiry_s=5) if number % 2 else Properties()
        client.send(Publish(f"r/{number}", b"x", retain=True, properties=soon))
    rig.pass_time(4)
    rig.pass_time(0)
    assert rig.core.counters.retained == 6
    rig.pass_time(2)
    assert rig.core.counters.retained == 4  # not all at once
    for _ in range(3):
        rig.pass_time(0)
    assert rig.core.counters.retained == 3
    assert rig.core.counters.dropped["retained_expired"] == 3
    assert sorted(each.topic for each in rig.core.retained("#", rig.now)) == ["r/0", "r/2", "r/4"]
