from paho.mqtt.enums import MQTTProtocolVersion

from tests.integration.gateway.device_peer import join, log_in
from tests.mqtt_peer import Mqtt
from tests.programs import until
from tests.system import Gateway


def test_a_device_joins_and_reaches_its_own_topics_only(lone: Gateway) -> None:
    credentials = join(lone, lone.claim())
    prefix = credentials["prefix"]
    assert prefix == f"devices/{credentials['device_id']}"
    with log_in(lone, credentials) as device:
        assert device.subscribe(f"{prefix}/commands/#")
        for wanted in ("#", "devices/#", "devices/+/commands/#", "$hec/#", "$hec/join/+/response"):
            assert not device.subscribe(wanted)
        device.publish(f"{prefix}/readings/temperature", {"value": 21.5, "seq": 1})
        known = until(
            lambda: [d for d in lone.status()["devices"] if d["messages"]], "the reading is seen"
        )
        mine = next(d for d in known if d["id"] == credentials["device_id"])
        assert (mine["name"], mine["model"], mine["online"]) == ("lamp", "paho", True)
        assert mine["last_topic"] == f"{prefix}/readings/temperature"
        assert '"value": 21.5' in mine["last_payload"]


def test_a_device_cannot_write_what_is_not_its_own(lone: Gateway) -> None:
    credentials = join(lone, lone.claim(), "board-2")
    other = join(lone, lone.claim(), "board-3")
    with log_in(lone, other) as victim, log_in(lone, credentials) as device:
        assert victim.subscribe(f"{other['prefix']}/#")
        device.client.publish(f"{other['prefix']}/commands/open", "{}", 1)
        victim.publish(f"{other['prefix']}/readings/t", {"value": 1})
        own = f"{other['prefix']}/readings/t"
        until(lambda: victim.payloads(own), "its own reading comes back")
        about = f"{other['prefix']}/about"  # the gateway's, retained; a device cannot write it
        assert [m.topic for m in victim.messages] == [about, own]
        assert not victim.publish(about, {"name": "mine"})


def test_a_claim_token_is_used_up(lone: Gateway) -> None:
    token = lone.claim()
    with log_in(lone, join(lone, token, "board-4")):
        for client_id in ("board-4", "board-5"):
            with Mqtt(lone.mqtt_port, "claim", token, client_id) as second:
                assert not second.is_in


def test_a_claim_token_for_two(lone: Gateway) -> None:
    token = lone.claim(uses=2)
    assert join(lone, token, "pair-1")["device_id"] != join(lone, token, "pair-2")["device_id"]
    with Mqtt(lone.mqtt_port, "claim", token, "pair-3") as third:
        assert not third.is_in


def test_a_device_that_lost_the_answer_asks_again(lone: Gateway) -> None:
    token = lone.claim()
    first = join(lone, token, "board-6")
    again = join(lone, token, "board-6")
    assert again["device_id"] == first["device_id"]
    with Mqtt(lone.mqtt_port, first["username"], first["password"], "x") as old:
        assert not old.is_in
    log_in(lone, again).close()


def test_a_bad_join_request_is_told_why_and_costs_no_use(lone: Gateway) -> None:
    token = lone.claim()
    with Mqtt(lone.mqtt_port, "claim", token, "board-7") as splicer:
        assert splicer.subscribe("$hec/join/board-7/response")
        assert not splicer.subscribe("$hec/join/board-8/response")
        splicer.publish("$hec/join/board-7/request", {"name": ""})
        refusal = until(splicer.payloads, "an answer")[0]
        assert refusal["error"].startswith("cannot join: name must be")
    assert "device_id" in join(lone, token, "board-7")


def test_a_revoked_device_leaves_nothing_retained(lone: Gateway) -> None:  # case G7, its kind
    credentials = join(lone, lone.claim(), "board-10")
    prefix = credentials["prefix"]
    with log_in(lone, credentials) as device:
        device.publish(f"{prefix}/readings/t", {"value": 1}, retain=True)
        device.publish(f"{prefix}/status", "online", retain=True)
    path = f"/devices/v1/devices/{credentials['device_id']}"
    assert lone.ask("DELETE", path).status_code == 204
    with Mqtt(lone.mqtt_port, "api", lone.key, "owner") as owner:
        assert owner.subscribe(f"{prefix}/#")
        assert owner.subscribe("other/topic")  # retained messages came before this answer
        assert owner.messages == []


def test_claim_tokens_are_ended(lone: Gateway) -> None:
    token = lone.claim(uses=5)
    assert lone.call("DELETE", "/devices/v1/claims")["ended"] >= 1
    with Mqtt(lone.mqtt_port, "claim", token, "board-11") as late:
        assert not late.is_in
    assert lone.call("DELETE", "/devices/v1/claims") == {"ended": 0}


def test_a_revoked_device_is_cut_at_once_and_stays_out(lone: Gateway) -> None:
    credentials = join(lone, lone.claim(), "board-9")
    device_id = credentials["device_id"]
    with log_in(lone, credentials) as device:
        assert lone.ask("DELETE", f"/devices/v1/devices/{device_id}").status_code == 204
        assert device.lost.wait(1.0)
    with Mqtt(lone.mqtt_port, device_id, credentials["password"], device_id) as again:
        assert not again.is_in
    assert device_id not in [d["id"] for d in lone.call("GET", "/devices/v1/devices")["data"]]
    assert lone.ask("DELETE", f"/devices/v1/devices/{device_id}").status_code == 404


def test_nobody_comes_in_without_a_password(lone: Gateway) -> None:
    for version in (MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5):
        with Mqtt(lone.mqtt_port, version=version) as stranger:
            assert not stranger.is_in


def test_the_api_key_opens_peoples_topics(lone: Gateway) -> None:
    with Mqtt(lone.mqtt_port, "api", lone.key, "person") as person:
        assert person.is_in
        assert person.subscribe("#")
        assert not person.subscribe("$hec/#")
        person.publish("a/b", "hello")
        until(lambda: b"hello" in person.payloads("a/b"), "its own message")


def test_loopback_can_be_opened_and_control_topics_stay_closed(node: Gateway) -> None:
    with Mqtt(node.mqtt_port, client_id="anyone") as person:
        assert person.is_in
        assert person.subscribe("rooms/#")
        assert not person.subscribe("$hec/nodes/+")
        assert not person.subscribe("$hec/join/+/response")
