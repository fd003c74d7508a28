"""Readings taken before the board knew the time, and before a reset."""

import asyncio
import os
import signal
import time
from pathlib import Path

from hardware.simulated import SimulatedBoard
from tests.aio import until
from tests.device import boards
from tests.device.boards import ScriptedBroker, joined_board, settings_for
from tests.device.test_faults import json_of, queued

CLOCKLESS = """
from device import Device
from device.board_unix import Board

class Clockless(Board):
    def now(self):
        return None

device = Device(board=Clockless())

@device.every(0.1)
def t():
    return device.readings.run_number

device.run()
"""
NOT_AVAILABLE = b"\x20\x02\x00\x03"


# case L21
def test_an_outage_with_a_reset_leaves_a_whole_history_in_order(
    tmp_path: Path, package: Path
) -> None:
    async def script(broker: ScriptedBroker, board: SimulatedBoard) -> None:
        queue = board.directory / "queue"
        await until(lambda: queue.exists() and len(queued(queue)) >= 20, "twenty in flash")
        assert board.pid
        os.kill(board.pid, signal.SIGKILL)
        first = queued(queue)
        await until(lambda: queued(queue).count(20) == 2, "twenty more after the reset")
        broker.connack = boards.CONNACK
        await until(lambda: live(broker), "a reading that was not queued")
        sent = [json_of(p) for p in all_readings(broker)]
        runs = [(int(str(r["value"])), int(str(r["seq"]))) for r in sent]
        assert runs == sorted(set(runs)), "in the order that they were taken, none twice"
        assert [seq for run, seq in runs if run == 1] == first
        assert {seq for run, seq in runs if run == 2} >= set(range(1, 21))
        ats = [int(str(r["at"])) for r in sent]
        assert ats == sorted(ats)
        assert started - 2 <= ats[0] <= ats[-1] <= time.time() + 2
        assert all(bool(r.get("estimated")) == (r["value"] == 1) for r in sent)

    started = time.time()

    async def stage() -> None:
        async with ScriptedBroker() as broker:
            broker.tells_time, broker.connack = True, NOT_AVAILABLE
            settings = settings_for(broker.port)
            board = joined_board(tmp_path / "board", settings, CLOCKLESS, package)
            await board.start()
            try:
                await script(broker, board)
            finally:
                await board.stop()

    asyncio.run(stage())


def all_readings(broker: ScriptedBroker) -> list[boards.Packet]:
    """Return the readings of all connections."""
    return [p for n in range(len(broker.connections)) for p in broker.readings(n)]


def live(broker: ScriptedBroker) -> bool:
    """Return whether the newest reading is younger than the connection that brought it."""
    readings = all_readings(broker)
    return bool(readings) and int(str(json_of(readings[-1])["at"])) >= time.time() - 1
