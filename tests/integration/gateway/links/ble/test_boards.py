"""Real MicroPython interpreters with the device package, as devices behind Bluetooth LE."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from tests.aio import until
from tests.programs import PATIENCE
from tests.radio.ble_gateway import ble_gateway, powered
from tests.radio.virtual_radio import VirtualRadio


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 70 * PATIENCE))


def test_a_board_joins_publishes_and_answers(
    radio: VirtualRadio, package: Path, tmp_path: Path
) -> None:
    async def work() -> None:
        async with ble_gateway(radio, tmp_path / "state") as gateway:
            board = await gateway.new_board(tmp_path / "attic", package)
            async with powered(board):
                device_id = await gateway.until_joined(board)
                assert not (board.directory / "claim").exists()
                command = {"id": "c1", "on": True}
                gateway.publish(f"devices/{device_id}/commands/light", command)
                await until(lambda: gateway.payloads(device_id, "replies/light"), "a reply")
                [reply] = gateway.payloads(device_id, "replies/light")
                assert (reply["ok"], reply["id"], reply["on"]) == (True, "c1", True)
                [status] = gateway.parts.links.status()
                assert (status.state, status.device_id) == ("open", device_id)

    run(work())
