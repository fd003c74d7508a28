"""Real MicroPython interpreters with the device package, as devices behind Bluetooth LE."""

import asyncio
import os
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from bleak.exc import BleakError

from tests.aio import until
from tests.programs import PATIENCE
from tests.radio.ble_gateway import BleGateway, ble_gateway, powered
from tests.radio.bleak_backend import make_backend
from tests.radio.central import Central, find_device
from tests.radio.virtual_radio import VirtualRadio

# Readings go out faster than the default program's, and a command resets the board.
PROGRAM = """
from device import Device

device = Device()
count = 0

@device.every(0.1)
def temperature():
    global count
    count += 1
    return count

@device.command
def light(args):
    return {"on": args["on"]}

@device.command
def reset(args):
    device.board.reset()

device.run()
"""


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 70 * PATIENCE))


async def command(gateway: BleGateway, device_id: str, number: int, size: int = 0) -> None:
    """Send a command of at least so many bytes, and wait for its reply of the same size."""
    fields: dict[str, object] = {"id": f"c{number}", "on": "x" * size}
    gateway.publish(f"devices/{device_id}/commands/light", fields)

    def answered() -> bool:
        replies = gateway.payloads(device_id, "replies/light")
        return any(reply["id"] == fields["id"] and reply["ok"] for reply in replies)

    await until(answered, "a reply", 30)


def values(gateway: BleGateway, device_id: str) -> list[int]:
    return [r["value"] for r in gateway.payloads(device_id, "readings/temperature")]


async def until_online(gateway: BleGateway, device_id: str, times: int) -> None:
    def online() -> bool:
        return gateway.payloads(device_id, "status").count("online") >= times

    await until(online, "online", 40)


def test_a_board_joins_publishes_and_answers(
    radio: VirtualRadio, package: Path, tmp_path: Path
) -> None:
    async def work() -> None:
        async with ble_gateway(radio, tmp_path / "state") as gateway:
            board = await gateway.new_board(tmp_path / "attic", package, PROGRAM)
            async with powered(board):
                device_id = await gateway.until_joined(board)
                assert not (board.directory / "claim").exists()
                for number in range(5):
                    await command(gateway, device_id, number, size=700 * number)
                [status] = gateway.parts.links.status()
                assert (status.state, status.device_id) == ("open", device_id)
                told = board.log_path.read_text()
                assert told.count("online") == 1, told
                taken = values(gateway, device_id)
                assert taken == list(range(taken[0], taken[0] + len(taken)))

    run(work())


def test_its_will_tells_of_a_lost_link_and_nothing_is_lost_across_a_reset(
    radio: VirtualRadio, package: Path, tmp_path: Path
) -> None:
    async def work() -> None:
        async with ble_gateway(radio, tmp_path / "state") as gateway:
            board = await gateway.new_board(tmp_path / "attic", package, PROGRAM)
            async with powered(board):
                device_id = await gateway.until_joined(board)
                assert board.pid is not None
                os.kill(board.pid, signal.SIGKILL)
                await until_online(gateway, device_id, 2)
                assert gateway.payloads(device_id, "status")[:3] == ["online", "offline", "online"]
                await command(gateway, device_id, 1)
                gateway.publish(f"devices/{device_id}/commands/reset", {"id": "r"})
                await until_online(gateway, device_id, 3)
                await command(gateway, device_id, 2)
                assert board.restarts == 2

    run(work())


def test_a_revoked_board_is_cut_and_a_stranger_does_not_become_it(
    radio: VirtualRadio, package: Path, tmp_path: Path
) -> None:
    async def work() -> None:
        async with ble_gateway(radio, tmp_path / "state") as gateway:
            board = await gateway.new_board(tmp_path / "attic", package, PROGRAM)
            async with powered(board):
                device_id = await gateway.until_joined(board)
                await gateway.parts.admission.revoke(device_id)
                await until(lambda: not any(s.device_id for s in gateway.parts.links.status()))
                known = len(values(gateway, device_id))
                await until(lambda: "offline" in board.log_path.read_text(), "the board notices")
                await until(lambda: "without a claim" in board.log_path.read_text(), "it asks", 30)
                assert len(values(gateway, device_id)) == known

    run(work())


# case L6, case L7
def test_readings_and_commands_pass_over_a_bad_link(
    radio: VirtualRadio, package: Path, tmp_path: Path
) -> None:
    async def work() -> None:
        async with ble_gateway(radio, tmp_path / "state") as gateway:
            faults = gateway.adapter.faults
            faults.early_s = 0.1
            for direction in (faults.writes, faults.notifications):
                direction.lost = direction.repeated = direction.swapped = 0.05
            board = await gateway.new_board(tmp_path / "attic", package, PROGRAM)
            async with powered(board):
                device_id = await gateway.until_joined(board)
                for number in range(5):
                    await command(gateway, device_id, number)
                await until(lambda: len(values(gateway, device_id)) > 40, "readings", 40)
            taken = values(gateway, device_id)
            missing = set(range(taken[0], max(taken))) - set(taken)
            assert not missing
            assert faults.writes.dropped + faults.notifications.dropped > 0

    run(work())


@pytest.mark.parametrize("direction", ["writes", "notifications"])
def test_a_board_joins_when_the_mtu_lies(
    radio: VirtualRadio, package: Path, tmp_path: Path, direction: str
) -> None:
    async def work() -> None:
        async with ble_gateway(radio, tmp_path / "state") as gateway:
            getattr(gateway.adapter.faults, direction).longest = 90
            board = await gateway.new_board(tmp_path / "attic", package, PROGRAM)
            async with powered(board):
                device_id = await gateway.until_joined(board)
                await command(gateway, device_id, 1)
            assert getattr(gateway.adapter.faults, direction).dropped > 0

    run(work())


# case L2
def test_a_board_returns_when_the_adapter_does(
    radio: VirtualRadio, package: Path, tmp_path: Path
) -> None:
    async def work() -> None:
        async with ble_gateway(radio, tmp_path / "state") as gateway:
            board = await gateway.new_board(tmp_path / "attic", package, PROGRAM)
            async with powered(board):
                device_id = await gateway.until_joined(board)
                await gateway.adapter.unplug()
                await until(lambda: "offline" in gateway.payloads(device_id, "status"), "", 30)
                await gateway.adapter.plug("hci1")
                await until_online(gateway, device_id, 2)
                await command(gateway, device_id, 1)

    run(work())


# case L3
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_three_boards_take_turns_over_two_links(
    radio: VirtualRadio, package: Path, tmp_path: Path
) -> None:
    async def work() -> None:
        async with ble_gateway(radio, tmp_path / "state", links=2) as gateway:
            gateway.adapter.faults.link_limit = 2
            async with AsyncExitStack() as stack:
                boards = [
                    await gateway.new_board(tmp_path / f"board{number}", package, PROGRAM)
                    for number in range(3)
                ]
                for board in boards:
                    await stack.enter_async_context(powered(board))
                ids = [await gateway.until_joined(board) for board in boards]
                for device_id in ids:
                    await command(gateway, device_id, 1)

    asyncio.run(asyncio.wait_for(work(), 130 * PATIENCE))


async def attack(stranger: Central) -> bool:
    """Write rubbish until the board hangs up; return False when it could not be reached."""
    try:
        async with asyncio.timeout(5):
            await stranger.__aenter__()
    except (BleakError, TimeoutError):
        return False
    try:
        for size in (0, 1, 7, 40, 240):
            await stranger.write(os.urandom(size))
        await asyncio.wait_for(stranger.lost.wait(), 30 * PATIENCE)
    except BleakError:  # it has hung up
        pass
    finally:
        await stranger.client.disconnect()
    return True


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_hostile_centrals_keep_nobody_from_a_board(
    radio: VirtualRadio, package: Path, tmp_path: Path
) -> None:
    """A stranger's adapter takes the board's only link again and again, and proves nothing."""

    async def work() -> None:
        async with (
            ble_gateway(radio, tmp_path / "state") as gateway,
            radio.adapters() as strangers,
        ):
            await strangers.add("hci9", "F0:00:00:00:00:66")
            backend = make_backend(strangers)
            board = await gateway.new_board(tmp_path / "attic", package, PROGRAM)
            async with powered(board):
                device_id = await gateway.until_joined(board)
                address = (board.directory / "radio").read_text().split()[1]
                for number in range(2):
                    gateway.adapter.faults.refused_connects = 1_000  # the stranger is faster
                    await gateway.adapter.links[address].disconnect()
                    while not await attack(Central(backend, await find_device(backend, address))):
                        pass
                    gateway.adapter.faults.refused_connects = 0
                    await command(gateway, device_id, number)
                assert board.restarts == 0

    asyncio.run(asyncio.wait_for(work(), 110 * PATIENCE))
