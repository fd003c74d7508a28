"""Readings to the cloud, commands from it, through outages and restarts."""

import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.gateway.device_peer import join, log_in
from tests.integration.gateway.nodes import Node
from tests.mqtt_peer import Mqtt
from tests.programs import until
from tests.system import Cloud, Gateway, restart_cloud


@pytest.fixture
def mirror(cloud: Cloud, tmp_path: Path) -> Iterator[Node]:
    with Node(tmp_path / "node", cloud) as node:
        yield node


def test_readings_go_up_and_commands_come_down(mirror: Node) -> None:
    credentials = join(mirror, mirror.claim())
    prefix = credentials["prefix"]
    above = f"nodes/{mirror.node_id}"
    with mirror.application() as app, log_in(mirror, credentials) as device:
        assert device.subscribe(f"{prefix}/commands/#")
        for number in range(20):
            device.publish(f"{prefix}/readings/t", {"value": number})
        readings = f"{above}/{prefix}/readings/t"
        until(lambda: len(app.payloads(readings)) >= 20, "the readings are in the cloud")
        assert [r["value"] for r in app.payloads(readings)] == list(range(20))
        app.publish(f"{above}/down/{prefix}/commands/led", {"id": "1", "on": True})
        until(device.messages.__len__, "the command comes to the device")
        assert device.payloads(f"{prefix}/commands/led") == [{"id": "1", "on": True}]
        until(lambda: mirror.spooled() == 0, "the spool is empty")


def test_rules_rename_and_nothing_else_passes(mirror: Node) -> None:
    above = f"nodes/{mirror.node_id}"
    with mirror.application() as app, Mqtt(mirror.mqtt_port) as person:
        assert person.subscribe("#")
        person.publish("secret/x", "no")
        person.publish("plant/7/level", "80")
        until(lambda: app.payloads(f"{above}/site/7/fill"), "the renamed topic")
        person.publish("fast/x", "1", qos=0)
        until(lambda: app.payloads(f"{above}/fast/x"), "the topic of QoS 0")
        for topic in ("secret/x", "devices/dev-1/readings/t", "kitchen/x"):
            app.publish(f"{above}/down/{topic}", "no")
        app.publish(f"{above}/down/recipes/soup", "yes")
        until(lambda: person.payloads("kitchen/soup"), "the renamed topic")
    came = {m.topic for m in app.messages if "/down/" not in m.topic}
    assert came == {f"{above}/site/7/fill", f"{above}/fast/x"}
    local = {"secret/x", "plant/7/level", "fast/x", "kitchen/soup"}
    assert {m.topic for m in person.messages} == local


def test_nothing_acknowledged_is_lost_in_an_outage_and_a_kill(
    cloud_of_its_own: Cloud, tmp_path: Path
) -> None:
    cloud = cloud_of_its_own
    with Node(tmp_path / "node", cloud) as node:
        credentials = join(node, node.claim())
        topic = f"{credentials['prefix']}/readings/t"
        above = f"nodes/{node.node_id}/{topic}"
        assert cloud.program.stop() == 0
        until(lambda: node.status()["sep"]["state"] != "online", "the SEP is down")
        with log_in(node, credentials) as device:
            for number in range(200):
                device.publish(topic, {"value": number})
        until(lambda: node.spooled() >= 200, "the spool has them")
        node.program.kill()  # at once after the last acknowledgement
        node.start()
        assert node.spooled() >= 200
        again = restart_cloud(cloud)
        with again.program, node.application() as app:
            until(lambda: len(set(_values(app, above))) == 200, "all 200 are in the cloud", 60)
            firsts = list(dict.fromkeys(_values(app, above)))
            assert firsts == list(range(200))
            until(lambda: node.spooled() == 0, "the spool is empty")


def test_a_full_spool_refuses_the_newest_and_says_so(
    cloud_of_its_own: Cloud, tmp_path: Path
) -> None:
    cloud = cloud_of_its_own
    with Node(tmp_path / "node", cloud, HECATE_GATEWAY_SPOOL_LIMIT_BYTES="65536") as node:
        assert cloud.program.stop() == 0
        until(lambda: node.status()["sep"]["state"] != "online", "the SEP is down")
        before = node.spooled()
        with Mqtt(node.mqtt_port) as person:
            assert person.subscribe("devices/#")
            for number in range(70):
                person.client.publish("devices/x/readings/t", f"{number:03}" + "x" * 1000, 1)
            until(lambda: len(person.messages) == 70, "the local side has all of them")
            spool = until(lambda: _dropped(node), "some were refused")
            assert before < spool["messages"] < 70
            assert spool["bytes"] <= 65536
            person.publish("fast/x", "nobody keeps it", qos=0)
            until(lambda: _dropped(node)["dropped"] > spool["dropped"], "it is counted")
        again = restart_cloud(cloud)
        with again.program:
            until(lambda: node.spooled() == 0, "the spool is empty")
            with node.application() as app, Mqtt(node.mqtt_port) as person:
                person.publish("devices/x/readings/t", "after")
                until(lambda: b"after" in app.payloads(), "there is room again")


def _values(app: Mqtt, topic: str) -> list[int]:
    return [payload["value"] for payload in app.payloads(topic)]


def _dropped(node: Gateway) -> dict[str, int]:
    spool: dict[str, int] = node.status()["sep"]["spool"]
    return spool if spool["dropped"] else {}


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_what_was_acknowledged_when_the_gateway_ended_is_in_the_spool(
    tmp_path: Path, end: signal.Signals
) -> None:
    nowhere = {"HECATE_GATEWAY_CLOUD_URL": "http://127.0.0.1:9"}  # RFC 863: discard; nobody listens
    gateway = Gateway(tmp_path, HECATE_GATEWAY_BROKER_ANONYMOUS="loopback", **nowhere)
    acknowledged: set[int] = set()
    with gateway.program, Mqtt(gateway.mqtt_port) as person:
        person.client.on_publish = lambda _c, _u, packet_id, _r, _p: acknowledged.add(packet_id)
        sent = {person.client.publish("devices/x/t", str(n), 1).mid: n for n in range(3000)}
        until(lambda: len(acknowledged) > 300, "some are acknowledged")
        gateway.program.process.send_signal(end)
        person.lost.wait(10)
        gateway.program.wait()
    database = sqlite3.connect(tmp_path / "spool.db")
    kept = {int(payload) for (payload,) in database.execute("SELECT payload FROM spool")}
    database.close()
    assert {sent[packet_id] for packet_id in acknowledged} <= kept
