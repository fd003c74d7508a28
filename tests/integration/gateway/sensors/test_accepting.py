import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.devices.describe import describe_device
from gateway.devices.record import DeviceRecord
from gateway.sensors.describe import describe_sensor, describe_stranger
from gateway.sensors.errors import BindKeyError, SensorError, UnknownSensorError
from settings.secret import Secret
from tests.bthome import (
    ADDRESS,
    CLIMATE,
    KEY,
    OTHER_KEY,
    TRIGGER_BASED,
    advertise,
    celsius,
    encrypt,
)
from tests.integration.gateway.sensors.world import WALL_S, SensorWorld, sensor_world


def strangers(world: SensorWorld) -> list[dict[str, Any]]:
    found = world.hub.strangers.all(world.now)
    return [describe_stranger(each, WALL_S + world.now, world.now) for each in found]


def test_a_stranger_is_listed_and_publishes_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with sensor_world(tmp_path) as world:
            await world.hear(advertise("0164" + CLIMATE, name="ATC_0B1C2D"))
            assert world.messages == []
            (listed,) = strangers(world)
            assert listed["address"] == ADDRESS
            assert listed["values"][0] == {"name": "temperature", "value": 25.06, "unit": "°C"}
            assert (listed["rssi"], listed["attributes"]) == (-60, {"battery": 100})
            assert (listed["heard_at"], listed["encrypted"]) == (WALL_S, False)
            assert len(world.admission.registry) == 0

    asyncio.run(scenario())


def test_an_accepted_sensor_is_a_device_like_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with sensor_world(tmp_path) as world:
            await world.hear(advertise("0164" + CLIMATE, name="ATC_0B1C2D"))
            world.now = 5.0
            device = await world.approve()
            assert strangers(world) == []
            about = world.said("/about")[-1]
            assert (about["name"], about["model"]) == (
                "attic",
                "Xiaomi Temperature/Humidity sensor",
            )
            assert world.said("/status") == ["online"]
            (first,) = world.said("/readings/temperature")  # sent before the acceptance
            assert first == {"value": 25.06, "unit": "°C", "seq": 0, "at": int(WALL_S)}
            assert world.said("/attributes") == [{"battery": 100, "rssi": -60}]
            await world.hear(advertise("0163" + celsius(19.5), at=20.0, rssi=-70))
            assert world.values() == [19.5]
            assert world.said("/attributes") == [{"battery": 99, "rssi": -70}]
            assert world.said("/status") == []
            shown = describe_device(device, world.hub.online(), WALL_S)
            assert shown["online"]
            assert shown["attributes"]["battery"] == 99
            assert not device.has_credentials
            assert describe_sensor(world.hub.by_device()[device.device_id]) == {
                "address": ADDRESS,
                "encrypted": False,
                "trigger_based": False,
                "counter": None,
                "lower_counter": None,
            }

    asyncio.run(scenario())


def test_an_accepted_sensor_is_there_after_a_restart_and_gone_once_forgotten(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with sensor_world(tmp_path) as world:
            await world.hear(encrypt(CLIMATE, 5))
            device_id = (await world.approve(key=KEY)).device_id
        async with sensor_world(tmp_path, now=100.0) as world:
            assert world.hub.online() == {device_id}  # as the retained status says
            await world.hear(encrypt(celsius(3.5), 6, at=100.0))
            assert world.values() == [3.5]
            device = world.admission.registry.get(device_id)
            assert device is not None
            assert device.name == "attic"
            await world.admission.rename(device, "cellar")
            await world.admission.forget(device_id)
            assert world.said("/status")[-1] == ""
            await world.hear(encrypt(celsius(4.5), 7, at=101.0))
            assert world.values() == []
            assert [each["encrypted"] for each in strangers(world)] == [True]
            assert await world.database.read("SELECT * FROM sensors") == []
            assert (await world.approve(key=KEY)).device_id != device_id

    asyncio.run(scenario())


def test_a_revoked_sensor_stays_in_the_list_and_counts_no_more(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with sensor_world(tmp_path) as world:
            await world.hear(advertise(CLIMATE))
            device = await world.approve()
            world.messages.clear()
            await world.admission.revoke(device.device_id)
            await world.hear(advertise(celsius(1.0), at=10.0))
            assert world.values() == []
            assert world.hub.online() == frozenset()
            assert strangers(world) == []
            assert world.hub.counts["revoked"] == 1
            with pytest.raises(SensorError, match="forget"):
                await world.approve()

    asyncio.run(scenario())


def test_a_key_is_checked_when_a_sensor_is_accepted(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with sensor_world(tmp_path) as world:
            await world.hear(encrypt(CLIMATE, 5), advertise(CLIMATE, "A4:C1:38:00:00:01"))
            with pytest.raises(BindKeyError, match="give its bind key"):
                await world.approve()
            with pytest.raises(BindKeyError, match="does not open") as raised:
                await world.approve(key=OTHER_KEY)
            assert OTHER_KEY not in str(raised.value)
            with pytest.raises(BindKeyError, match="leave the key out"):
                await world.approve(address="A4:C1:38:00:00:01", key=KEY)
            with pytest.raises(UnknownSensorError, match="no such sensor"):
                await world.approve(address="A4:C1:38:00:00:02")
            assert len(world.admission.registry) == 0
            await world.approve(key=KEY)
            with pytest.raises(SensorError, match="already"):
                await world.approve(key=KEY)

    asyncio.run(scenario())


def test_a_sensor_that_is_approved_twice_at_once_is_one_device(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with sensor_world(tmp_path) as world:
            await world.hear(encrypt(CLIMATE, 5))
            both = [world.approve(key=KEY), world.approve("other", key=KEY)]
            done = await asyncio.gather(*both, return_exceptions=True)
            assert [type(each) for each in done] == [DeviceRecord, SensorError]
            assert len(world.admission.registry) == 1

    asyncio.run(scenario())


def test_a_sensor_that_changes_its_address_is_refused(tmp_path: Path) -> None:
    changing, static = "54:48:E6:8F:80:A5", "D4:48:E6:8F:80:A5"

    async def scenario() -> None:
        async with sensor_world(tmp_path) as world:
            await world.hear(
                advertise(CLIMATE, changing, address_type="random"),
                advertise(CLIMATE, static, address_type="random"),
            )
            with pytest.raises(SensorError, match="changes its address"):
                await world.approve(address=changing)
            await world.approve(address=static)

    asyncio.run(scenario())


def test_events_are_published_once_and_never_late(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with sensor_world(tmp_path) as world:
            press = advertise("000901643a01", flags=TRIGGER_BASED, name="SBBT-002C")
            await world.hear(press)
            device = await world.approve()
            assert device.model == "Shelly BLU Button1"
            assert world.said("/events/button") == []  # it is over
            again = [advertise("000a01643a04", flags=TRIGGER_BASED, at=10.0 + n) for n in range(9)]
            await world.hear(*again)
            (event,) = world.said("/events/button")
            assert event["event"] == "long_press"
            assert event["at"] == int(WALL_S)
            assert world.said("/readings/button") == []

    asyncio.run(scenario())


def test_a_silent_sensor_is_offline_unless_it_is_trigger_based(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with sensor_world(tmp_path) as world:
            button = "A4:C1:38:00:00:01"
            await world.hear(advertise(CLIMATE), advertise("3a01", button, flags=TRIGGER_BASED))
            climate = await world.approve()
            pressed = await world.approve("bell", button)
            assert world.hub.online() == {climate.device_id, pressed.device_id}
            world.said("/status")
            world.now = 7200.0
            await world.hub.work()
            assert world.said(f"{climate.device_id}/status") == ["offline"]
            assert world.hub.online() == {pressed.device_id}
            await world.hub.work()
            assert world.said("/status") == []
            await world.hear(advertise(celsius(2.0), at=7300.0))
            assert world.said("/status") == ["online"]

    asyncio.run(scenario())


def test_a_gateway_without_a_radio_calls_no_sensor_online(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with sensor_world(tmp_path) as world:
            await world.hear(encrypt("3a01", 5, flags=TRIGGER_BASED))
            device_id = (await world.approve(key=KEY)).device_id
        async with sensor_world(tmp_path, can_hear=False) as world:
            assert world.hub.online() == frozenset()
            assert world.said(f"{device_id}/status")[-1] == "offline"

    asyncio.run(scenario())


def test_a_missing_library_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "gateway.sensors.bthome", None)

    async def scenario() -> None:
        async with sensor_world(tmp_path) as world:
            for number in range(3):
                await world.hear(advertise(CLIMATE, at=float(number)))
            assert strangers(world) == []

    asyncio.run(scenario())
    assert caplog.text.count("pip install 'hecate-gateway[sensors]'") == 1


def test_keys_are_in_no_message_and_no_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")

    async def scenario() -> None:
        async with sensor_world(tmp_path) as world:
            await world.hear(encrypt(CLIMATE, 5))
            device = await world.approve(key=KEY)
            await world.hear(*[encrypt(CLIMATE, n, key=OTHER_KEY) for n in range(5)])
            await world.decisions.change_key(device.device_id, Secret(OTHER_KEY))
            with pytest.raises(ValueError, match="digits"):
                await world.decisions.change_key(device.device_id, Secret(KEY[:-1]))
            everything = caplog.text + repr(world.messages)
            for key in (KEY, OTHER_KEY, repr(bytes.fromhex(KEY))[2:-1]):
                assert key not in everything

    asyncio.run(scenario())
