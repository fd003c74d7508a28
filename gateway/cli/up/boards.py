"""Runs the simulated devices, and lets new ones join."""

import asyncio
import json
from typing import Any

from gateway.cli.client.records import rows_of
from gateway.cli.client.sidecar import SidecarClient
from gateway.cli.errors import CliError
from gateway.cli.up.plan import Plan
from hardware.simulated import DeviceSettings, SimulatedBoard, SimulatedBoardError
from settings.secret import Secret

INTERVAL_S = 2.0  # often enough to see it live
CLAIM_TTL_S = 600
POLL_S = 0.1
NAMES = ("kitchen", "cellar", "bedroom", "attic", "garage", "porch", "study", "hall")


class Boards:
    """Every simulated board of one run."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._boards: list[SimulatedBoard] = []

    async def start(self, sidecar: SidecarClient, mqtt: tuple[str, int]) -> int:
        """Start all; return how many of them had to join."""
        answer = await sidecar.call("list devices", "GET", "/devices/v1/devices")
        known = {str(row.get("id")) for row in rows_of(answer)}
        joining = 0
        for number in range(1, self._plan.devices + 1):
            board = self._board(number, mqtt, None)
            if _device_id(board) not in known:
                joining += 1
                board = self._board(number, mqtt, await _claim(sidecar))
            self._boards.append(board)
            try:
                await board.start()
            except SimulatedBoardError as exc:
                raise CliError(f"{exc}, or give --devices 0") from exc
        return joining

    async def wait_online(self, sidecar: SidecarClient, timeout_s: float) -> list[str]:
        """Return the ids of all boards once all are online; CliError names the others."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            rows = rows_of(await sidecar.call("list devices", "GET", "/devices/v1/devices"))
            online = {str(row.get("id")) for row in rows if row.get("online")}
            missing = [board for board in self._boards if _device_id(board) not in online]
            if not missing:
                return [str(_device_id(board)) for board in self._boards]
            if loop.time() > deadline:
                logs = ", ".join(str(board.log_path) for board in missing)
                raise CliError(
                    f"cannot start devices: not online after {timeout_s:.0f} s; see {logs}"
                )
            await asyncio.sleep(POLL_S)

    async def stop(self) -> None:
        """Cut the power of all at once."""
        await asyncio.gather(*(board.stop() for board in self._boards), return_exceptions=True)

    def _board(self, number: int, mqtt: tuple[str, int], claim: Secret | None) -> SimulatedBoard:
        name = NAMES[number - 1] if number <= len(NAMES) else f"device-{number}"
        settings = DeviceSettings(name, "simulated", *mqtt, claim, INTERVAL_S)
        return SimulatedBoard(self._plan.flash(number), settings)


def _device_id(board: SimulatedBoard) -> str | None:
    try:
        return board.device_id
    except (OSError, KeyError, json.JSONDecodeError):
        return None


async def _claim(sidecar: SidecarClient) -> Secret:
    body = {"uses": 1, "ttl_s": CLAIM_TTL_S}
    answer: Any = await sidecar.call("make a claim token", "POST", "/devices/v1/claims", json=body)
    return Secret(str(answer["token"]))
