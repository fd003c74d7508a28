"""Boards in the real interpreter that join a real gateway."""

import asyncio
import json
import time
from pathlib import Path

from hardware.simulated import DeviceSettings, SimulatedBoard, write_private
from settings.secret import Secret
from tests import aio
from tests.mqtt_peer import Mqtt
from tests.system import Gateway

CLOCKLESS = """
from device import Device
from device.board_unix import Board

class Clockless(Board):
    def now(self):
        return None

device = Device(board=Clockless())

@device.every(0.2)
def t():
    return 1

device.run()
"""


def board_for(gateway: Gateway, directory: Path, program: str) -> SimulatedBoard:
    """Return a board that has a claim token for a gateway."""
    main = directory.with_name(f"{directory.name}.py")
    main.write_text(program)
    settings = DeviceSettings(
        directory.name, "simulated", "127.0.0.1", gateway.mqtt_port, Secret(gateway.claim())
    )
    return SimulatedBoard(directory, settings, main)


# case D18
def test_a_board_without_a_clock_dates_all_of_its_readings(lone: Gateway, tmp_path: Path) -> None:
    async def script(owner: Mqtt) -> None:
        board = board_for(lone, tmp_path / "clockless", CLOCKLESS)
        await board.start()
        try:
            await aio.until(
                lambda: board.directory.exists() and board.device_id is not None, "it joins"
            )
            topic = f"devices/{board.device_id}/readings/t"
            await aio.until(lambda: len(owner.payloads(topic)) >= 5, "readings")
            readings = owner.payloads(topic)
            assert [reading["seq"] for reading in readings[:5]] == [1, 2, 3, 4, 5]
            assert all(abs(reading["at"] - time.time()) < 60 for reading in readings)
        finally:
            await board.stop()

    with Mqtt(lone.mqtt_port, "api", lone.key, "owner-18") as owner:
        assert owner.subscribe("devices/+/readings/t")
        asyncio.run(script(owner))


PLAIN = """
from device import Device
device = Device()

@device.every(0.2)
def t():
    return 1

device.run()
"""


# case D19
def test_two_boards_with_one_identity_are_noticed(lone: Gateway, tmp_path: Path) -> None:
    def mine(device_id: str) -> dict[str, object]:
        return next(d for d in lone.status()["devices"] if d["id"] == device_id)

    async def script() -> None:
        board = board_for(lone, tmp_path / "first", PLAIN)
        clone = board_for(lone, tmp_path / "second", PLAIN)
        await board.start()
        try:
            await aio.until(lambda: board.directory.exists() and board.device_id, "it joins")
            device_id = str(board.device_id)
            clone.directory.mkdir()
            stolen = (board.directory / "credentials.json").read_text()
            write_private(clone.directory / "credentials.json", stolen)
            await clone.start()
            with Mqtt(lone.mqtt_port, "api", lone.key, "owner") as owner:
                about = f"devices/{device_id}/about"
                assert owner.subscribe(about)
                await aio.until(lambda: mine(device_id)["conflicts"], "the gateway notices")
                await aio.until(
                    lambda: [p for p in owner.payloads(about) if p["state"] == "conflict"],
                    "applications are told",
                )
            counts = [b.log_path.read_text().count("online") for b in (board, clone)]
            assert sum(counts) <= 6
            await aio.until(
                lambda: any("not available" in b.log_path.read_text() for b in (board, clone)),
                "the newcomer is held off",
            )
            assert mine(device_id)["online"]
        finally:
            await board.stop()
            await clone.stop()

    asyncio.run(script())
    assert json.loads((tmp_path / "second/credentials.json").read_text())
