"""Sensors on a virtual radio, a gateway as a program, and a person at the command line."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bthome import (
    CLIMATE,
    KEY,
    OTHER_KEY,
    TRIGGER_BASED,
    advertise,
    celsius,
    encrypt,
    of_data,
    on_air,
)
from tests.commands import Person
from tests.mqtt_peer import Mqtt
from tests.programs import until
from tests.radio.radio_gateway import RadioGateway
from tests.radio.virtual_radio import VirtualRadio

NUMBERS = itertools.count()
CHANGING = "54:48:E6:8F:80:A5"


@pytest.fixture(scope="module")
def radio() -> Iterator[VirtualRadio]:
    with VirtualRadio() as virtual:
        yield virtual


class Home:
    """A gateway within reach of the radio, and its owner."""

    def __init__(self, gateway: RadioGateway, folder: Path) -> None:
        self.gateway, self._person = gateway, Person(folder)

    def hecate(self, *words: str, given: str = "") -> str:
        """Return what a command about devices prints."""
        return self._person.done("devices", *words, *self._where(), given=given)

    def noted(self) -> str:
        """Return what the list of devices says besides its rows."""
        return self._person.hecate("devices", *self._where()).err

    def refused(self, *words: str, given: str = "") -> str:
        """Return why a command about devices fails."""
        return self._person.refused("devices", *words, *self._where(), given=given)

    def devices(self) -> dict[str, dict[str, Any]]:
        """Return the devices by name."""
        return {d["name"]: d for d in json.loads(self.hecate("--json"))["data"]}

    def sensors(self) -> dict[str, dict[str, Any]]:
        """Return the sensors that nobody has accepted, by address."""
        return {s["address"]: s for s in json.loads(self.hecate("sensors", "--json"))["data"]}

    def log(self) -> str:
        """Return what the gateway has logged."""
        return "".join(self.gateway.program.lines)

    def frames(self) -> dict[str, int]:
        """Return the numbers of frames by result."""
        return dict(self.gateway.status()["sensors"]["frames"])

    def listen(self) -> Mqtt:
        """Return a client that reads everything."""
        return Mqtt(self.gateway.mqtt_port, "api", self.gateway.key, "listener")

    def _where(self) -> tuple[str, ...]:
        return ("--url", self.gateway.url, "--state", str(self.gateway.state))


@pytest.fixture(scope="module")
def home(radio: VirtualRadio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("home")
    with RadioGateway(folder / "state", radio) as gateway:
        yield Home(gateway, folder)


@pytest.fixture
def address() -> str:
    return fresh()


def fresh() -> str:
    """Return a static random address, as those of the radio are."""
    return f"C4:C1:38:0B:1C:{next(NUMBERS):02X}"


def test_a_person_accepts_a_sensor_and_applications_read_it(
    home: Home, radio: VirtualRadio, address: str
) -> None:
    climate = on_air(advertise("0164" + CLIMATE, address), "ATC")
    with home.listen() as listener, radio.beacon(address, climate):
        assert listener.subscribe("devices/#")
        until(lambda: address in home.sensors(), "the sensor is heard")
        assert "not accepted: see `hecate devices sensors`" in home.noted()
        table = home.hecate("sensors")
        assert "temperature 25.06 °C" in table
        assert address in table
        assert listener.messages == []
        assert "approved attic as dev-" in home.hecate(
            "approve", address.lower(), "--name", "attic"
        )
        device = home.devices()["attic"]
        prefix = f"devices/{device['id']}"
        until(lambda: listener.payloads(f"{prefix}/readings/humidity"), "it publishes")
        reading = listener.payloads(f"{prefix}/readings/temperature")[0]
        assert (reading["value"], reading["unit"]) == (25.06, "°C")
        assert listener.payloads(f"{prefix}/status") == [b"online"]
        assert device["attributes"] == {"battery": 100, "rssi": -50}
        assert "not encrypted: anybody can send as it" in home.hecate("show", "attic")
        home.hecate("rename", "attic", "cellar")
        home.hecate("group", "cellar", "rooms")
        assert home.devices()["cellar"]["groups"] == ["rooms"]
        assert "it has no token" in home.refused("rotate", "cellar")
        nobody_logs_in_as(home, device["id"], address)
        home.hecate("forget", "cellar")
        until(lambda: address in home.sensors(), "it is a stranger again")


def nobody_logs_in_as(home: Home, device_id: str, address: str) -> None:
    for password in ("", device_id, address, KEY, home.gateway.key):
        with Mqtt(home.gateway.mqtt_port, device_id, password, device_id) as client:
            assert not client.is_in


# case L8
@pytest.mark.parametrize(("last", "lower"), [(154553, 148), (65531, 19911)])
def test_a_new_battery_is_told_and_one_command_resumes_it(
    home: Home, radio: VirtualRadio, address: str, last: int, lower: int, tmp_path: Path
) -> None:
    name, second = f"from-{last}", fresh()
    (tmp_path / "bind.key").write_text(KEY + "\n")
    with home.listen() as listener:
        assert listener.subscribe("devices/+/readings/+")

        def values(device_id: str) -> list[float]:
            said = listener.payloads(f"devices/{device_id}/readings/temperature")
            return [reading["value"] for reading in said]

        with radio.beacon(address, on_air(encrypt(celsius(1.0), last, address))):
            until(lambda: address in home.sensors(), "the sensor is heard")
            assert "does not open" in home.refused(
                "approve", address, "--key-file", "-", given=OTHER_KEY
            )
            assert "give --key-file" in home.refused("approve", address)
            home.hecate(
                "approve", address, "--name", name, "--key-file", str(tmp_path / "bind.key")
            )
            device_id = home.devices()[name]["id"]
            until(lambda: values(device_id) == [1.0], "it publishes")
        with radio.beacon(second, on_air(advertise(celsius(7.0), second))):
            until(lambda: second in home.sensors(), "another sensor is heard")
            home.hecate("approve", second, "--name", f"other-{last}")
            other = home.devices()[f"other-{last}"]["id"]
        with radio.beacon(address, on_air(encrypt(celsius(9.0), lower, address))):
            until(lambda: home.devices()[name]["problem"] == "counter went back", "it is told")
            assert "counter went back" in home.hecate()
            with radio.beacon(second, on_air(advertise(celsius(8.0), second))):
                until(lambda: 8.0 in values(other), "the other one is not affected")
            assert values(device_id) == [1.0]
            home.hecate("resume", name)
            assert home.devices()[name]["problem"] == ""
            assert "did not go back" in home.refused("resume", name)
            assert values(device_id) == [1.0]
        with radio.beacon(address, on_air(encrypt(celsius(2.0), lower + 1, address))):
            until(lambda: values(device_id) == [1.0, 2.0], "it counts on")
    log = home.log()
    assert log.count(f"sensor {name} ({device_id}): counter went back") == 1
    assert KEY not in log


# case L9
@pytest.mark.parametrize("ending", ["53", "54", "3b"])
def test_a_strangers_cut_frame_hurts_nobody(
    home: Home, radio: VirtualRadio, address: str, ending: str
) -> None:
    cut, bad = "truncated object", fresh()
    before = home.frames().get(cut, 0)
    with (
        radio.beacon(bad, on_air(of_data(bytes.fromhex("40" + ending), bad))),
        radio.beacon(address, on_air(advertise(CLIMATE, address))),
    ):
        until(lambda: address in home.sensors(), "the next sensor is heard")
        until(lambda: home.frames().get(cut, 0) > before + 1, "the cut frames are counted")
        assert bad not in home.sensors()
    until(lambda: home.log().count(cut) == 1, "it is logged once")
    assert "Traceback" not in home.log()


def test_a_sensor_that_changes_its_address_is_named_and_refused(
    home: Home, radio: VirtualRadio
) -> None:
    with radio.beacon(CHANGING, on_air(advertise(CLIMATE, CHANGING))):
        until(lambda: CHANGING in home.sensors(), "the sensor is heard")
        assert "changes its address" in home.hecate("sensors")
        assert "changes its address" in home.refused("approve", CHANGING)
    assert "no such sensor was heard" in home.refused("approve", fresh())


def test_a_sensor_gets_another_key(home: Home, radio: VirtualRadio, address: str) -> None:
    with radio.beacon(address, on_air(encrypt(celsius(1.0), 9, address))):
        until(lambda: address in home.sensors(), "the sensor is heard")
        home.hecate("approve", address, "--name", "shed", "--key-file", "-", given=KEY)
    changed = on_air(encrypt(celsius(2.0), 3, address, key=OTHER_KEY))
    with home.listen() as listener, radio.beacon(address, changed):
        assert listener.subscribe("devices/+/readings/temperature")
        until(lambda: home.devices()["shed"]["problem"] == "wrong key", "it is told")
        assert "wrong key" in home.hecate()
        assert "does not open" in home.refused("key", "shed", "--key-file", "-", given="00" * 16)
        assert "32 hexadecimal digits" in home.refused("key", "shed", "--key-file", "-", given="1")
        home.hecate("key", "shed", "--key-file", "-", given=OTHER_KEY)
        until(lambda: listener.messages, "it publishes")
        assert [reading["value"] for reading in listener.payloads()] == [2.0]
    text = home.log() + home.hecate("--json") + home.hecate("show", "shed", "--json")
    assert KEY not in text
    assert OTHER_KEY not in text
    assert (
        'hecate_sensor_frames_total{result="not opened"}'
        in home.gateway.ask("GET", "/metrics").text
    )


def test_counters_and_keys_survive_a_kill(home: Home, radio: VirtualRadio, address: str) -> None:
    old = on_air(encrypt("3a01", 70, address, flags=TRIGGER_BASED))
    with radio.beacon(address, old):
        until(lambda: address in home.sensors(), "the sensor is heard")
        home.hecate("approve", address, "--name", "bell", "--key-file", "-", given=KEY)
    home.gateway.program.kill()
    home.gateway.start()
    device_id = home.devices()["bell"]["id"]
    with home.listen() as listener:
        assert listener.subscribe("devices/+/events/+")
        with radio.beacon(address, old):  # somebody repeats it
            until(lambda: home.frames().get("repeated", 0) > 1, "it is heard")
        assert listener.messages == []
        with radio.beacon(address, on_air(encrypt("3a04", 71, address, flags=TRIGGER_BASED))):
            until(lambda: listener.messages, "a press")
        (event,) = listener.payloads(f"devices/{device_id}/events/button")
        assert event["event"] == "long_press"
    assert home.devices()["bell"]["online"]
