import asyncio
from pathlib import Path

import pytest

from gateway.sensors import bthome
from gateway.sensors.counter_guard import RESERVE
from gateway.sensors.errors import BindKeyError, SensorError, UnknownSensorError
from gateway.sensors.values import Packet
from settings.secret import Secret
from tests.bthome import CLIMATE, KEY, OTHER_KEY, TRIGGER_BASED, advertise, celsius, encrypt
from tests.integration.gateway.sensors.world import SensorWorld, sensor_world

OTHER = "A4:C1:38:00:00:01"


async def floors(world: SensorWorld) -> list[int]:
    return [row[0] for row in await world.database.read("SELECT floor FROM sensors")]


# case L8
@pytest.mark.parametrize(("last", "lower"), [(154553, 148), (65531, 19911)])
def test_a_counter_that_went_back_is_told_once_and_resumed_by_the_owner(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, last: int, lower: int
) -> None:
    async def scenario() -> None:
        async with sensor_world(tmp_path) as world:
            await world.hear(encrypt(celsius(1.0), last), encrypt(CLIMATE, 9, OTHER))
            device = await world.approve(key=KEY)
            await world.approve("other", OTHER, KEY)
            world.messages.clear()
            with pytest.raises(SensorError, match="did not go back"):
                await world.decisions.resume(device.device_id)
            for number in range(5):
                await world.hear(
                    encrypt(celsius(9.0), lower + number, at=10.0 * number),
                    encrypt(celsius(7.0), 10 + number, OTHER, at=10.0 * number),
                )
            assert world.values() == [7.0] * 5  # the other one goes on
            assert caplog.text.count("counter went back") == 1
            assert f"hecate devices resume {device.device_id}" in caplog.text
            assert device.problem == "counter went back"
            (about,) = world.said("/about")
            assert about["problem"] == "counter went back"
            await world.decisions.resume(device.device_id)
            assert world.said("/about")[-1].get("problem") is None
            await world.hear(encrypt(celsius(9.0), lower + 4, at=90.0))  # heard already
            await world.hear(encrypt(celsius(2.0), lower + 5, at=91.0))
            assert world.values() == [2.0]
        async with sensor_world(tmp_path) as world:  # the store knows it
            await world.hear(encrypt(celsius(3.0), lower + 6))
            assert world.values() == [3.0]

    asyncio.run(scenario())


# case L8
def test_the_owners_decision_survives_a_power_cut(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with sensor_world(tmp_path, is_cut=True) as world:
            await world.hear(encrypt(CLIMATE, 154553))
            device = await world.approve(key=KEY)
            await world.hear(encrypt(celsius(9.0), 148, at=10.0))
            await world.decisions.resume(device.device_id)
        async with sensor_world(tmp_path) as world:
            await world.hear(encrypt(celsius(9.0), 148), encrypt(celsius(1.0), 149, at=1.0))
            assert world.values() == [1.0]

    asyncio.run(scenario())


@pytest.mark.parametrize("is_cut", [True, False])
@pytest.mark.parametrize("flags", [0, TRIGGER_BASED])
def test_a_restart_is_no_window_for_old_frames(tmp_path: Path, *, is_cut: bool, flags: int) -> None:
    async def scenario() -> None:
        sent = [encrypt(celsius(n), 1000 + n, flags=flags, at=float(n)) for n in range(50)]
        async with sensor_world(tmp_path, is_cut=is_cut) as world:
            await world.hear(sent[0])
            await world.approve(key=KEY)
            for each in sent[1:40]:
                await world.hear(each)
            assert world.values() == [float(n) for n in range(40)]
        async with sensor_world(tmp_path, now=100.0) as world:
            await world.hear(*sent[:40])
            assert world.values() == []
        async with sensor_world(tmp_path, now=200.0) as world:
            for each in sent[40:]:
                await world.hear(each)
            lost = RESERVE if is_cut and not flags else 0
            assert len(world.values()) >= 10 - lost
            more = [encrypt(celsius(n), 1000 + n, flags=flags, at=200.0 + n) for n in range(50, 80)]
            for each in more:
                await world.hear(each)
            assert world.values()[-1] == 79.0

    asyncio.run(scenario())


@pytest.mark.parametrize("is_cut", [True, False])
def test_the_frame_by_which_a_sensor_was_accepted_counts_once(
    tmp_path: Path, *, is_cut: bool
) -> None:
    async def scenario() -> None:
        first = encrypt(celsius(1.0) + "3a01", 70, flags=TRIGGER_BASED)
        async with sensor_world(tmp_path, is_cut=is_cut) as world:
            await world.hear(first)
            await world.approve(key=KEY)
            await world.hear(first)
            assert world.values() == [1.0]
        async with sensor_world(tmp_path) as world:
            await world.hear(first)
            assert world.values() == []
            assert world.said("/events/button") == []

    asyncio.run(scenario())


def test_counters_are_written_seldom(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with sensor_world(tmp_path) as world:
            await world.hear(encrypt(CLIMATE, 0))
            await world.approve(key=KEY)
            seen: list[int] = []
            for number in range(1, 200):
                await world.hear(encrypt(celsius(number / 10), number, at=float(number)))
                seen += await floors(world)
            assert len(world.values()) == 200
            assert len(set(seen)) <= 200 / RESERVE + 1

    asyncio.run(scenario())


def test_a_counter_that_cannot_be_stored_is_not_published(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with sensor_world(tmp_path) as world:
            await world.hear(encrypt("3a01", 1, flags=TRIGGER_BASED))
            await world.approve(key=KEY)
            await world.database.write(("ALTER TABLE sensors RENAME TO gone", ()))
            await world.hear(encrypt("3a01", 2, flags=TRIGGER_BASED, at=10.0))
            assert world.said("/events/button") == []
            assert world.hub.counts["not stored"] == 1
            await world.database.write(("ALTER TABLE gone RENAME TO sensors", ()))
            await world.hear(encrypt("3a02", 3, flags=TRIGGER_BASED, at=20.0))
            assert [e["event"] for e in world.said("/events/button")] == ["double_press"]

    asyncio.run(scenario())
    assert caplog.text.count("cannot write") == 1


def test_a_wrong_key_is_told_once_and_mended_by_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with sensor_world(tmp_path) as world:
            await world.hear(encrypt(CLIMATE, 5))
            device = await world.approve(key=KEY)
            world.messages.clear()
            sent = [encrypt(celsius(1.0), 1 + n, key=OTHER_KEY, at=1.0 + n) for n in range(8)]
            await world.hear(*sent)
            assert world.values() == []
            assert device.problem == "wrong key"
            assert caplog.text.count("wrong key") == 1
            with pytest.raises(BindKeyError, match="does not open"):
                await world.decisions.change_key(device.device_id, Secret("00" * 16))
            with pytest.raises(UnknownSensorError):
                await world.decisions.change_key("dev-000000000000", Secret(OTHER_KEY))
            await world.decisions.change_key(device.device_id, Secret(OTHER_KEY))
            assert device.problem == ""
            await world.hear(encrypt(celsius(2.0), 9, key=OTHER_KEY, at=20.0))
            assert world.values() == [2.0]
        async with sensor_world(tmp_path) as world:
            await world.hear(encrypt(celsius(3.0), 10, key=OTHER_KEY))
            assert world.values() == [3.0]

    asyncio.run(scenario())


# case L9
def test_a_fault_of_ours_in_one_frame_does_not_affect_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = bthome.decode_objects

    def fail_on_two(objects: bytes, address: str, name: str) -> Packet:
        if objects == bytes.fromhex(celsius(2.0)):
            raise IndexError("out of range")
        return decode(objects, address, name)

    monkeypatch.setattr(bthome, "decode_objects", fail_on_two)

    async def scenario() -> None:
        async with sensor_world(tmp_path) as world:
            await world.hear(encrypt(celsius(0.0), 1))
            await world.approve(key=KEY)
            await world.hear(*[encrypt(celsius(n), 1 + n, at=float(n)) for n in (1, 2, 2, 3)])
            await world.hear(advertise(celsius(2.0), OTHER), encrypt(celsius(4.0), 9, at=9.0))
            assert world.values() == [0.0, 1.0, 3.0, 4.0]
            assert world.hub.counts["failed"] == 3

    asyncio.run(scenario())
    assert caplog.text.count("Traceback") == 1


# case L9
@pytest.mark.parametrize("ending", ["53", "54", "3b"])
def test_a_cut_object_is_dropped_counted_and_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, ending: str
) -> None:
    caplog.set_level("INFO", "gateway.sensors")

    async def scenario() -> None:
        async with sensor_world(tmp_path) as world:
            await world.hear(encrypt(CLIMATE, 1))
            await world.approve(key=KEY)
            world.messages.clear()
            for number in range(3):
                at = 10.0 + number
                await world.hear(encrypt(celsius(1.0) + ending, 2 + 2 * number, at=at))
                await world.hear(encrypt(celsius(number), 3 + 2 * number, at=at))
            assert world.values() == [0.0, 1.0, 2.0]
            assert world.hub.counts["truncated object"] == 3

    asyncio.run(scenario())
    assert caplog.text.count("truncated object") == 1
