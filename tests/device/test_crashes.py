"""Programs that crash or hang: watchdog, counted resets, safe mode."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from hardware.simulated import SimulatedBoard
from tests.aio import until
from tests.device import boards
from tests.device.boards import ScriptedBroker, joined_board, settings_for
from tests.device.test_faults import command, json_of, replies

HANGING = """
import time
from device import Device
device = Device()

@device.every(0.1)
def t():
    if device.link.is_up:
        print("program hangs")
        while True:
            pass
    return 1

device.run()
"""
CRASHING = """
from device import Device
device = Device()
print("program runs")
raise MemoryError("in the middle")
"""
Script = Callable[[ScriptedBroker, SimulatedBoard], Awaitable[None]]


def play(directory: Path, package: Path, program: str, script: Script, **settings: float) -> None:
    """Run a script with a program and a scripted broker."""

    async def stage() -> None:
        async with ScriptedBroker() as broker:
            fast = {"crash_limit": 3, "watchdog_s": 1} | settings
            board = joined_board(
                directory / "board", settings_for(broker.port, **fast), program, package
            )
            await board.start()
            try:
                await script(broker, board)
            finally:
                await board.stop()

    asyncio.run(stage())


def value_of(broker: ScriptedBroker, name: str) -> object:
    """Return the last value of a reading, or None."""
    sent = [p for n in range(len(broker.connections)) for p in broker.readings(n)]
    values = [json_of(p)["value"] for p in sent if p.topic.endswith(f"/{name}")]
    return values[-1] if values else None


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_program_that_hangs_is_reset_and_then_runs_no_more(tmp_path: Path, package: Path) -> None:
    async def script(broker: ScriptedBroker, board: SimulatedBoard) -> None:
        await until(lambda: value_of(broker, "crashes") == 3, "safe mode", timeout_s=30)
        told = board.log_path.read_text()
        assert told.count("program hangs") == 3
        assert "safe mode after 3 crashes in a row" in told
        before = board.restarts
        pings = len(broker.packets(len(broker.connections) - 1, boards.PINGREQ))
        await until(
            lambda: len(broker.packets(len(broker.connections) - 1, boards.PINGREQ)) > pings + 2,
            "it stays",
        )
        assert board.restarts == before

    play(tmp_path, package, HANGING, script)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_safe_mode_tells_the_traceback_and_ends_by_a_command(tmp_path: Path, package: Path) -> None:
    program = CRASHING.replace("raise", "device.link.run = None\ndevice.run()\nraise")

    async def script(broker: ScriptedBroker, board: SimulatedBoard) -> None:
        await until(lambda: value_of(broker, "last-crash"), "safe mode", timeout_s=40)
        assert "Traceback" in str(value_of(broker, "last-crash"))
        runs = board.log_path.read_text().count("program runs")
        assert runs == 2
        broker.writers[-1].write(command("restart", '{"id": 1}', 9))
        await until(lambda: replies(broker), "the reply")
        assert replies(broker)[0]["ok"]
        await until(
            lambda: board.log_path.read_text().count("program runs") == runs + 1, "it runs again"
        )

    play(tmp_path, package, program, script, crash_limit=2, watchdog_s=8)


def test_power_cycles_are_no_crashes(tmp_path: Path, package: Path) -> None:
    async def script(broker: ScriptedBroker, board: SimulatedBoard) -> None:
        for number in range(5):
            await until(lambda: len(broker.connections) > number, "online")  # noqa: B023
            await until(lambda: broker.readings(number), "a reading")  # noqa: B023
            assert board.pid
            os.kill(board.pid, signal.SIGKILL)
        await until(lambda: broker.readings(5), "a reading")
        assert (board.directory / "boots").read_text() == "6 0"
        assert "safe mode" not in board.log_path.read_text()

    play(tmp_path, package, "", script, watchdog_s=8)


def test_a_program_that_runs_steadily_is_forgiven(tmp_path: Path, package: Path) -> None:
    program = """
from device import Device
device = Device()
if not device.crashes:
    raise SystemExit(1)
device.clock.uptime_s = lambda: 61

@device.every(0.1)
def t():
    return device.crashes

device.run()
"""

    async def script(broker: ScriptedBroker, board: SimulatedBoard) -> None:
        await until(lambda: value_of(broker, "t") == 0, "forgiven")
        assert value_of(broker, "crashes") == 1
        assert (board.directory / "boots").read_text() == "2 0"

    play(tmp_path, package, program, script, watchdog_s=8)
