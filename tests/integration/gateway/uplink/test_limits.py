"""One message, or the cloud's absence, stops neither the uplink nor local devices."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from tests.integration.gateway.device_peer import join, log_in
from tests.integration.gateway.nodes import Node
from tests.mqtt_peer import Mqtt
from tests.programs import run, until
from tests.system import Cloud, Gateway

VERSIONS = [MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5]
ALL = """
[[uplink.topics]]
filter = "#"
direction = "up"
[[uplink.topics]]
filter = "fine/#"
direction = "down"
[[uplink.topics]]
filter = "{deep}/#"
direction = "down"
""".format(deep="/".join("d" * 31))


@pytest.fixture(scope="module")
def mirror(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("limits") / "node", cloud, ALL) as node:
        yield node


def hecate(node: Node, *words: str) -> str:
    command = [sys.executable, "-m", "gateway", *words, "--url", node.url]
    result = subprocess.run(
        [*command, "--state", str(node.state)], capture_output=True, text=True, timeout=60
    )
    return result.stdout + result.stderr


# case G1
def test_what_the_cloud_does_not_take_is_set_aside_and_named(mirror: Node) -> None:
    credentials = join(mirror, mirror.claim())
    prefix = credentials["prefix"]
    deep = prefix + "/l" * (32 - prefix.count("/") - 1)
    long = f"{prefix}/" + "x" * (4096 - len(prefix) - 1)
    before = mirror.spool()["set_aside_total"]
    with mirror.application() as app, log_in(mirror, credentials) as device:
        assert device.subscribe(f"{prefix}/#")
        for topic in (f"{prefix}/readings/1", deep, f"{prefix}/readings/2", long):
            assert device.publish(topic, "1")
        assert device.publish(f"{prefix}/readings/3", "1")
        above = f"nodes/{mirror.node_id}/{prefix}/readings"
        until(lambda: app.payloads(f"{above}/3"), "the last reading is in the cloud")
        came = {m.topic for m in app.messages}
        assert {f"{above}/{n}" for n in (1, 2, 3)} <= came
        own = {f"{prefix}/readings/{n}" for n in (1, 2, 3)} | {deep, long}
        until(lambda: own <= {m.topic for m in device.messages}, "the local side has all five")
    until(lambda: mirror.spool()["set_aside"] >= before + 2, "they are set aside")
    status = mirror.status()
    assert status["sep"]["state"] == "online"
    reasons = {each["topic"]: each["reason"] for each in status["sep"]["spool"]["latest"]}
    assert "34 topic levels" in reasons[deep]
    assert "4159 bytes" in reasons[long]
    assert any("set aside" in line for line in mirror.program.lines)
    assert "set aside" in hecate(mirror, "status")
    metrics = mirror.ask("GET", "/metrics", "").text
    assert f"hecate_spool_set_aside_total {before + 2}.0" in metrics


# case G3
@pytest.mark.parametrize("version", VERSIONS)
def test_a_large_message_goes_up_and_one_that_is_too_large_stays(
    mirror: Node, version: MQTTProtocolVersion
) -> None:
    before = mirror.spool()["set_aside_total"]
    with (
        mirror.application() as app,
        Mqtt(mirror.mqtt_port, version=version, client_id="large") as person,
    ):
        above = f"nodes/{mirror.node_id}/plant"
        person.publish("plant/large", bytes(1_200_000))
        person.publish("plant/too-large", bytes(1_999_950))
        person.publish("plant/next", f"{version}")
        until(lambda: app.payloads(f"{above}/next"), "the next one is in the cloud")
        assert [len(m.payload) for m in app.messages if m.topic == f"{above}/large"] == [1_200_000]
        assert not person.lost.is_set()
    until(lambda: mirror.spool()["set_aside_total"] == before + 1, "it is counted")


# case G18
def test_what_the_cloud_denies_is_known_counted_and_named(cloud: Cloud, mirror: Node) -> None:
    with Mqtt(mirror.mqtt_port, client_id="down") as person:
        assert person.subscribe("down/#")
        assert person.publish("down/a", "1")
        until(lambda: person.payloads("down/a"), "it is delivered here")
    until(lambda: mirror.spool()["latest"][0]["topic"] == "down/a", "it is set aside")
    assert "denies down/#" in mirror.spool()["latest"][0]["reason"]
    sep = mirror.status()["sep"]
    assert sep["state"] == "online"
    # a rule that the cloud cannot take keeps neither the SEP nor the other rules away
    (denied,) = sep["denied"]
    assert denied.startswith("d/d/")
    assert "topic levels" in sep["denied"][denied]
    with mirror.application() as app, Mqtt(mirror.mqtt_port, client_id="fine") as person:
        assert person.subscribe("fine/#")
        app.publish(f"nodes/{mirror.node_id}/down/fine/x", "here")
        until(lambda: person.payloads("fine/x"), "the other rule works")
    assert run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}",
                f"{cloud.url}/sep/{mirror.node_id}/healthz"]) == "200"  # fmt: skip


# case G2
@pytest.mark.parametrize("rule", ["refuse", "drop_oldest"])
def test_local_delivery_never_depends_on_the_cloud(tmp_path: Path, rule: str) -> None:
    nowhere = {"HECATE_GATEWAY_CLOUD_URL": "http://127.0.0.1:9"}  # RFC 863: discard; nobody listens
    limits = {"HECATE_GATEWAY_SPOOL_LIMIT_BYTES": "65536", "HECATE_GATEWAY_SPOOL_WHEN_FULL": rule}
    sent = [f"{number:03}" + "x" * 1000 for number in range(80)]
    anyone = {"HECATE_GATEWAY_BROKER_ANONYMOUS": "loopback"}
    with (
        Gateway(tmp_path, **anyone, **nowhere, **limits) as gateway,
        Mqtt(gateway.mqtt_port, client_id="reader") as reader,
    ):
        assert reader.subscribe("devices/#")
        reader.publish("devices" + "/l" * 30, "known to be too deep before it is stored")  # case G1
        until(lambda: gateway.status()["sep"]["spool"]["set_aside"] == 1, "it is set aside")
        assert gateway.status()["sep"]["spool"]["messages"] <= 1, "the node's own status at most"
        for version in VERSIONS:
            reader.messages.clear()
            with Mqtt(gateway.mqtt_port, client_id="device", version=version) as device:
                verdicts = [device.publish("devices/x/readings/t", each) for each in sent]
                assert not device.lost.is_set()
            until(lambda: len(reader.messages) >= 80, "the local side has all of them")
            assert [m.payload.decode() for m in reader.messages] == sent, "each one, once"
            is_told = rule == "refuse" and version == MQTTProtocolVersion.MQTTv5
            assert all(verdicts) is not is_told
        spool = gateway.status()["sep"]["spool"]
        assert spool["bytes"] <= spool["limit_bytes"] == 65536
        assert spool["dropped"] == 160 - spool["messages"]
        assert spool["when_full"] == rule
        if rule == "drop_oldest":
            assert spool["dropped_oldest"] == spool["dropped"]
        else:
            assert spool["full"]
            assert spool["refused"] == spool["dropped"]
            assert any("spool is full" in line for line in gateway.program.lines)
        metrics = gateway.ask("GET", "/metrics", "").text
        assert f"hecate_spool_dropped_total {spool['dropped']}.0" in metrics
