"""Boards in the real interpreter join a real gateway by approval, and take new credentials."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from gateway import VERSION
from hardware.simulated import BoardLimits, DeviceSettings, SimulatedBoard
from settings.secret import Secret
from tests import aio
from tests.mqtt_peer import Mqtt
from tests.system import Gateway

PROGRAM = """
from device import Device
device = Device()

@device.every(0.2)
def t():
    return 1

device.run()
"""
HASTE = {"retry_first_s": 0.05, "retry_cap_s": 0.2, "refused_cap_s": 0.2, "timeout_s": 5}
CODE = re.compile(r"waits for approval: hecate devices approve (\d{3}-\d{3})")


def board_of(
    gateway: Gateway, directory: Path, claim: str = "", program: str = PROGRAM
) -> SimulatedBoard:
    main = directory.with_name(f"{directory.name}.py")
    main.write_text(program)
    settings = DeviceSettings(
        directory.name, "simulated", "127.0.0.1", gateway.mqtt_port,
        Secret(claim) if claim else None, more=HASTE,
    )  # fmt: skip
    limits = BoardLimits(restart_first_s=0.05, restart_cap_s=0.2)
    return SimulatedBoard(directory, settings, main, limits)


def play(board: SimulatedBoard, script: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await board.start()
        try:
            await script()
        finally:
            await board.stop()

    asyncio.run(run())


def device_of(gateway: Gateway, board: SimulatedBoard) -> dict[str, Any]:
    found: dict[str, Any] = gateway.call("GET", f"/devices/v1/devices/{board.device_id}")
    return found


def stored(board: SimulatedBoard) -> dict[str, str]:
    found: dict[str, str] = json.loads((board.directory / "credentials.json").read_text())
    return found


def is_online(gateway: Gateway, board: SimulatedBoard) -> bool:
    return (board.directory / "credentials.json").exists() and device_of(gateway, board)["online"]


def log_of(board: SimulatedBoard) -> str:
    return board.log_path.read_text() if board.log_path.exists() else ""


def codes_of(board: SimulatedBoard) -> list[str]:
    return CODE.findall(log_of(board))


def test_a_board_shows_its_code_and_joins_when_it_is_approved(
    lone: Gateway, tmp_path: Path
) -> None:
    board = board_of(lone, tmp_path / "shy")

    async def script() -> None:
        await aio.until(lambda: codes_of(board), "the board shows its code")
        code = codes_of(board)[0]
        boards = lone.call("GET", "/devices/v1/pending")["data"]
        assert code in [row["code"] for row in boards if row["name"] == "shy"]
        lone.call("POST", f"/devices/v1/pending/{code}/approve", json={})
        await aio.until(lambda: is_online(lone, board), "it is online")
        assert not (board.directory / "join-secret").exists()

    play(board, script)


REPORTING = """
from device import Device
device = Device()
device.report(battery=64.5, door="open")
device.run()
"""


def test_a_board_reports_what_it_is(lone: Gateway, tmp_path: Path) -> None:
    board = board_of(lone, tmp_path / "telling", lone.claim(), REPORTING)

    async def script() -> None:
        await aio.until(lambda: is_online(lone, board), "it is online")
        await aio.until(lambda: "door" in device_of(lone, board)["attributes"], "a report")
        attributes = device_of(lone, board)["attributes"]
        assert (attributes["battery"], attributes["door"]) == (64.5, "open")
        assert attributes["package"] == VERSION
        assert attributes["firmware"].startswith("1.")

    play(board, script)


def test_a_board_waits_with_one_code_over_resets(lone: Gateway, tmp_path: Path) -> None:
    board = board_of(lone, tmp_path / "patient")

    async def script() -> None:
        await aio.until(lambda: codes_of(board), "the board shows its code")
        await board.stop()
        await board.start()
        await aio.until(lambda: len(codes_of(board)) > 1, "the board shows its code again")
        assert len(set(codes_of(board))) == 1

    play(board, script)


def test_a_board_takes_a_new_token_and_the_old_one_ends(lone: Gateway, tmp_path: Path) -> None:
    board = board_of(lone, tmp_path / "rotating", lone.claim())

    async def script() -> None:
        await aio.until(lambda: is_online(lone, board), "it is online")
        old = stored(board)
        answer = lone.call("POST", f"/devices/v1/devices/{board.device_id}/rotate")
        assert answer == {"id": board.device_id, "is_sent": True}
        await aio.until(
            lambda: not device_of(lone, board)["token"]["is_new_waiting"], "the new one was used"
        )
        new = stored(board)
        assert new["password"] != old["password"]
        with Mqtt(lone.mqtt_port, old["username"], old["password"], "thief") as thief:
            assert not thief.is_in
        await board.stop()
        await board.start()
        await aio.until(lambda: is_online(lone, board), "it is online again")
        assert old["password"] not in log_of(board)
        assert new["password"] not in log_of(board)

    play(board, script)


def test_a_board_that_was_away_gets_its_new_token_when_it_returns(
    lone: Gateway, tmp_path: Path
) -> None:
    board = board_of(lone, tmp_path / "away", lone.claim())

    async def script() -> None:
        await aio.until(lambda: is_online(lone, board), "it is online")
        old = stored(board)
        await board.stop()
        await aio.until(lambda: not is_online(lone, board), "it is away")
        answer = lone.call("POST", f"/devices/v1/devices/{board.device_id}/rotate")
        assert not answer["is_sent"]
        await board.start()
        await aio.until(lambda: stored(board) != old, "it has new credentials")
        await aio.until(
            lambda: not device_of(lone, board)["token"]["is_new_waiting"], "it has used them"
        )

    play(board, script)


def test_a_revoked_board_asks_again_and_becomes_the_same_device(
    lone: Gateway, tmp_path: Path
) -> None:
    board = board_of(lone, tmp_path / "revoked", lone.claim())

    async def script() -> None:
        await aio.until(lambda: is_online(lone, board), "it is online")
        device_id, old = board.device_id, stored(board)
        lone.call("POST", f"/devices/v1/devices/{device_id}/revoke")
        await aio.until(lambda: codes_of(board), "the board asks for approval")
        assert device_of(lone, board)["state"] == "revoked"
        lone.call("POST", f"/devices/v1/pending/{codes_of(board)[0]}/approve", json={})
        await aio.until(lambda: is_online(lone, board), "it is online again")
        assert (stored(board)["device_id"], device_of(lone, board)["state"]) == (
            device_id, "approved"
        )  # fmt: skip
        assert stored(board)["password"] != old["password"]

    play(board, script)


def test_only_the_device_reads_its_new_credentials(lone: Gateway, tmp_path: Path) -> None:
    board = board_of(lone, tmp_path / "private", lone.claim())

    async def script() -> None:
        await aio.until(lambda: is_online(lone, board), "it is online")
        topic = f"$hec/devices/{board.device_id}/credentials"
        with (
            Mqtt(lone.mqtt_port, "api", lone.key, "curious") as person,
            Mqtt(lone.mqtt_port, "join", "the-secret-of-a-stranger", "curious-board") as stranger,
        ):
            assert not person.subscribe(topic)
            assert not person.subscribe("$hec/#")
            assert not stranger.subscribe(topic)
            assert person.subscribe("#")
            lone.call("POST", f"/devices/v1/devices/{board.device_id}/rotate")
            await aio.until(
                lambda: not device_of(lone, board)["token"]["is_new_waiting"], "it was used"
            )
            assert not [m for m in person.messages if m.topic.startswith("$")]

    play(board, script)
