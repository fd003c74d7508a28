"""`hecate broker --data` and sessions that are resumed, also under another clock."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes

from tests.integration.broker.standalone.runner import Runner
from tests.paho_client import V4, V5, Paho, properties_for

PAYLOADS = [b"%d" % number for number in range(6)]
VERSIONS = (V4, V5)
TWO_DAYS_S = 172_800


@pytest.fixture(params=["synced", "os", "memory"])
def runner(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Runner]:
    runner = Runner(tmp_path / "data", request.param)
    yield runner
    runner.close()


@pytest.fixture
def synced(tmp_path: Path) -> Iterator[Runner]:
    runner = Runner(tmp_path / "data", "synced")
    yield runner
    runner.close()


def ways(end: str) -> Iterator[tuple[str, MQTTProtocolVersion, MQTTProtocolVersion, int | None]]:
    for old, new, expiry_s in product(VERSIONS, VERSIONS, (None, 0, 100, 0xFFFFFFFF)):
        if expiry_s is None or new == V5:
            yield f"{old} {new} {expiry_s} {end}", old, new, expiry_s


def leave_waiting(runner: Runner, name: str, version: MQTTProtocolVersion) -> None:
    with runner.client(name, version, stays=True) as away:
        away.subscribe(name, 2)
    with runner.client("s", V5) as sender:
        for number, payload in enumerate(PAYLOADS):
            sender.publish(name, payload, 1 + number % 2)


def check(paho: Paho) -> None:
    assert paho.was_there  # type: ignore[attr-defined]
    found = [paho.take().payload for _ in PAYLOADS]
    # paho hands a QoS 2 message on when its PUBREL comes, behind the QoS 1 message that follows
    assert sorted(found) == PAYLOADS
    for qos in (0, 1):
        assert [each for each in found if int(each) % 2 == qos] == PAYLOADS[qos::2]


# case B1
def test_a_session_is_there_whatever_the_client_says_of_it(runner: Runner) -> None:
    for name, old, new, expiry_s in ways("reconnect"):
        leave_waiting(runner, name, old)
        with runner.client(name, new, stays=True, expiry_s=expiry_s) as again:
            check(again)


# case B1
def test_a_session_is_there_after_a_restart(synced: Runner) -> None:
    found = list(ways("restart"))
    for name, old, _, _ in found:
        leave_waiting(synced, name, old)
    synced.kill()
    for name, _, new, expiry_s in found:
        with synced.client(name, new, stays=True, expiry_s=expiry_s) as again:
            check(again)
    synced.restart()
    for name, _, new, expiry_s in found:
        with synced.client(name, new, stays=True, expiry_s=expiry_s) as again:
            is_kept = new == V4 or bool(expiry_s)
            assert again.was_there is is_kept  # type: ignore[attr-defined]
            assert again.messages.empty()


# case B8
@pytest.mark.parametrize("dies", [True, False])
def test_a_clock_that_is_set_back_gives_no_life(synced: Runner, dies: bool) -> None:
    minute = properties_for(PacketTypes.PUBLISH, MessageExpiryInterval=60)
    with synced.client("away", V5, stays=True) as away:
        away.subscribe("a", 1)
    with synced.client("s", V5) as sender:
        sender.publish("a", b"x", 1, properties=minute)
        sender.publish("kept", b"x", 1, retain=True, properties=minute)
    synced.set_clock(-TWO_DAYS_S)
    if dies:
        synced.kill()
    else:
        synced.restart()
    with synced.client("away", V5, stays=True) as away:
        away.subscribe("kept", 1)
        for _ in range(2):
            properties: Any = away.take().properties
            assert 1 <= properties.MessageExpiryInterval <= 60
