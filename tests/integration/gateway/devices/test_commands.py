"""The commands about devices, as a person types them."""

import json
import threading
from pathlib import Path

import pytest

from tests.commands import Person
from tests.integration.gateway.device_peer import join, log_in
from tests.mqtt_peer import Mqtt
from tests.programs import HECATE, Program, until
from tests.system import Gateway


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path)


def hecate(person: Person, gateway: Gateway, *words: str) -> str:
    return person.done("devices", *words, HECATE_URL=gateway.url, HECATE_API_KEY=gateway.key)


def refused(person: Person, gateway: Gateway, *words: str) -> str:
    return person.refused("devices", *words, HECATE_URL=gateway.url, HECATE_API_KEY=gateway.key)


def test_a_device_is_looked_after_by_name_or_id(lone: Gateway, person: Person) -> None:
    credentials = join(lone, lone.claim(), "cmd-1")
    device_id = credentials["device_id"]
    assert device_id in hecate(person, lone)
    assert hecate(person, lone, "rename", device_id, "greenhouse 1") == (
        f"renamed {device_id} to greenhouse 1\n"
    )
    assert "joined" in hecate(person, lone, "show", "greenhouse 1")
    assert hecate(person, lone, "group", "greenhouse 1", "lights", "south") == (
        "greenhouse 1 is now in lights, south\n"
    )
    with log_in(lone, credentials) as device:
        assert device.subscribe("groups/south/#")
        assert device.subscribe("groups/lights/commands/on")
        assert not device.subscribe("groups/#")
        assert not device.subscribe("groups/north/#")
        hecate(person, lone, "group", device_id, "--leave", "south")
        assert not device.subscribe("groups/south/x")
        device.publish(
            f"{credentials['prefix']}/attributes", {"battery": 71, "rssi": -58, "firmware": "1.27"}
        )
        until(lambda: "71 %" in hecate(person, lone), "the battery is shown")
        shown = json.loads(hecate(person, lone, "show", device_id, "--json"))
        assert shown["attributes"] == {"battery": 71, "rssi": -58, "firmware": "1.27"}
        assert (shown["online"], shown["groups"]) == (True, ["lights"])
        assert credentials["password"] not in json.dumps(shown)
        assert hecate(person, lone, "revoke", "greenhouse 1") == f"revoked {device_id}\n"
        assert device.lost.wait(5)
    assert "revoked" in hecate(person, lone, "show", device_id)
    assert "it is revoked" in refused(person, lone, "rotate", device_id)
    assert hecate(person, lone, "forget", device_id) == f"forgot {device_id}\n"
    assert device_id not in hecate(person, lone)


def test_faults_say_what_to_do(lone: Gateway, person: Person) -> None:
    assert "see `hecate devices`" in refused(person, lone, "show", "nobody")
    assert "no such device" in refused(person, lone, "revoke", "dev-000000000000")
    assert "no board waits" in refused(person, lone, "approve", "000-000")
    assert "no board waits" in refused(person, lone, "deny", "a board")
    one, two = (join(lone, lone.claim(), f"cmd-twin-{n}")["device_id"] for n in range(2))
    for device_id in (one, two):
        hecate(person, lone, "rename", device_id, "twin")
    assert "2 devices have this name" in refused(person, lone, "show", "twin")
    assert "must be a text" in refused(person, lone, "rename", one, "x" * 65)
    assert "group 'a/b'" in refused(person, lone, "group", one, "a/b")
    assert "it is not in" in refused(person, lone, "group", one, "--leave", "nowhere")


def test_a_board_is_approved_and_waited_for(lone: Gateway, person: Person) -> None:
    with Mqtt(lone.mqtt_port, "join", "the-secret-of-cmd-2", "cmd-2") as board:
        assert board.subscribe("$hec/join/cmd-2/response")
        board.publish("$hec/join/cmd-2/request", {"name": "porch", "model": "paho"})
        code = until(board.payloads, "it waits")[0]["pending"]
        assert code in hecate(person, lone)
        listed = json.loads(hecate(person, lone, "--json"))
        assert [b["board"] for b in listed["pending"] if b["code"] == code] == ["cmd-2"]

        def live() -> None:
            until(lambda: len(board.messages) > 1, "it is approved")
            log_in(lone, board.payloads()[1]).client.loop_start()

        living = threading.Thread(target=live)
        living.start()
        said = hecate(person, lone, "approve", code, "--name", "back door")
        living.join()
    assert "approved back door as dev-" in said
    assert "back door is online" in said


def test_a_claim_token_is_of_one_board(lone: Gateway, person: Person) -> None:
    token = hecate(person, lone, "claim", "--board", "cmd-3").strip()
    with Mqtt(lone.mqtt_port, "claim", token, "cmd-4") as other:
        assert not other.is_in
    assert join(lone, token, "cmd-3")["device_id"]
    assert "board: " in refused(person, lone, "claim", "--board", "a/b")


def test_the_list_follows_changes(lone: Gateway, tmp_path: Path) -> None:
    environ = {"HECATE_URL": lone.url, "HECATE_API_KEY": lone.key, "HOME": str(tmp_path)}
    with Program((*HECATE, "devices", "--watch"), environ) as watching:
        watching.wait_for("DEVICE")
        credentials = join(lone, lone.claim(), "cmd-5")
        watching.wait_for(f"{credentials['device_id']}  lamp  offline")
        with log_in(lone, credentials):
            watching.wait_for(f"{credentials['device_id']}  lamp  online")
        watching.wait_for(f"{credentials['device_id']}  lamp  offline")
        watching.kill()
