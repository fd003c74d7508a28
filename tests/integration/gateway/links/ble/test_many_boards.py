"""Ten real MicroPython interpreters behind one adapter with three links."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.links.ble.scheduler import TurnTimes
from hardware.simulated import SimulatedBoard
from tests.aio import until
from tests.programs import PATIENCE
from tests.radio.ble_gateway import BleGateway, ble_gateway, powered
from tests.radio.virtual_radio import VirtualRadio

BOARDS, LINKS = 10, 3
QUICK = TurnTimes(turn_s=1.0, relaxed_turn_s=1.0, short_turn_s=0.5)
ROUND_S = 60.0  # in which everybody has a turn, on a quiet machine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 250 * PATIENCE))


@dataclass
class JoinedBoards:
    """Ten boards that have joined, and their device ids."""

    gateway: BleGateway
    boards: list[SimulatedBoard]
    devices: list[str]

    def readings(self) -> dict[str, int]:
        """Return the number of readings that each has sent so far."""
        path = "readings/temperature"
        return {device: len(self.gateway.payloads(device, path)) for device in self.devices}

    async def until_all_publish(self, what: str) -> None:
        """Return when each has sent something after now."""
        before = self.readings()

        def have_all() -> bool:
            return all(count > before[device] for device, count in self.readings().items())

        await until(have_all, f"all boards send after {what}", ROUND_S)

    async def until_all_answer(self, number: int) -> None:
        """Send each a command, and return when all have answered."""
        answer_id = f"c{number}"
        for device in self.devices:
            command = {"id": answer_id, "on": True}
            self.gateway.publish(f"devices/{device}/commands/light", command)

        def has_answered(device: str) -> bool:
            replies = self.gateway.payloads(device, "replies/light")
            return [r["ok"] for r in replies if r["id"] == answer_id] == [True]

        await until(lambda: all(map(has_answered, self.devices)), "all answer", ROUND_S)


@asynccontextmanager
async def joined_boards(
    radio: VirtualRadio, package: Path, folder: Path
) -> AsyncIterator[JoinedBoards]:
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(
            ble_gateway(radio, folder / "state", LINKS, QUICK)
        )
        gateway.adapter.faults.link_limit = LINKS
        boards = []
        for number in range(BOARDS):
            board = await gateway.new_board(folder / f"board-{number}", package)
            boards.append(await stack.enter_async_context(powered(board)))
        await until(lambda: all(b.device_id for b in boards), "all boards join", 2 * ROUND_S)
        devices = [str(board.device_id) for board in boards]
        joined = JoinedBoards(gateway, boards, devices)
        await joined.until_all_publish("they joined")
        yield joined


def test_ten_boards_share_three_links_and_stay_online(
    radio: VirtualRadio, package: Path, tmp_path: Path
) -> None:
    async def work() -> None:
        async with joined_boards(radio, package, tmp_path) as joined:
            gateway = joined.gateway
            gateway.seen.clear()
            await joined.until_all_answer(1)
            await joined.until_all_publish("a round")
            await joined.until_all_answer(2)
            radio_state = gateway.bluetooth.describe()
            assert radio_state["counters"]["parked"] > BOARDS
            assert len(radio_state["links"]) <= LINKS
            said_offline = [m.topic for m in gateway.seen if m.payload == b"offline"]
            assert not said_offline, "devices that wait for their turn were said to be offline"
            for record in gateway.parts.admission.registry.all():
                if record.device_id in joined.devices:
                    assert record.is_up
                    assert record.conflicts == 0
                    assert record.attributes["link"] == "ble"

    run(work())


def test_ten_boards_survive_what_adapters_and_stacks_do(
    radio: VirtualRadio, package: Path, tmp_path: Path
) -> None:
    async def work() -> None:
        async with joined_boards(radio, package, tmp_path) as joined:
            adapter = joined.gateway.adapter
            await adapter.unplug()  # case L2
            await until(lambda: joined.gateway.bluetooth.describe()["adapter"] is None)
            await adapter.plug("hci1")
            await joined.until_all_publish("the adapter has another name")
            adapter.faults.is_silent = True  # case L1
            adapter.faults.stops_in_progress = 1
            counters = joined.gateway.bluetooth.describe
            await until(lambda: counters()["scanner"]["silent"] > 0, "silence is noticed", 60)
            adapter.faults.is_silent = False
            await joined.until_all_publish("the scanner was silent")
            adapter.faults.hides_disconnects = True  # case L3
            for connection in list(adapter.links.values())[:1]:
                await connection.disconnect()
            adapter.faults.leaks_links = True
            await joined.until_all_publish("links died without a word, and leaked")
            adapter.faults.hides_disconnects = adapter.faults.leaks_links = False
            await adapter.unplug()  # as a restart of BlueZ
            await adapter.plug()
            await joined.until_all_publish("a restart")
            await joined.until_all_answer(3)

    run(work())
