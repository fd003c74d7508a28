"""A command without an id that is delivered again after a reset or a cut."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from hardware.simulated import SimulatedBoard
from tests.aio import until
from tests.device import boards
from tests.device.boards import ScriptedBroker, joined_board, settings_for
from tests.device.mosquitto import Application, Mosquitto
from tests.device.test_commands_at_a_boards_heap import PATIENT, Peer
from tests.device.test_faults import DUP, command, play, replies

PROGRAM = """
import asyncio
from device import Device
device = Device()

@device.command
def reset(args):
    print("reset runs")
    device.board.reset()

@device.command
def light(args):
    print("light runs")

@device.command
async def slow(args):
    print("slow runs")
    await asyncio.sleep(1)

@device.command
def echo(args):
    return {"back": args.get("x", "")}

@device.every(0.1)
def alive():
    return 1

device.run()
"""
Script = Callable[[ScriptedBroker, SimulatedBoard], Awaitable[None]]


def runs(board: SimulatedBoard, name: str) -> int:
    """Return how often a handler has run."""
    return boards.output(board).count(f"{name} runs")


def test_a_handler_that_resets_the_board_runs_once(
    tmp_path: Path, mosquitto: Mosquitto, package: Path
) -> None:
    async def stage() -> None:
        settings = settings_for(mosquitto.port, **PATIENT)
        board = joined_board(tmp_path / "board", settings, PROGRAM, package)
        with Application(mosquitto.port, "devices/#") as application:
            await board.start()
            try:
                peer = Peer(application)
                await until(lambda: application.payloads("/alive"), "online")
                for number in (1, 2):  # a command of the same content that comes later runs
                    await peer.send("reset", "{}")
                    await until(lambda: len(peer.replies("reset")) == number, "a reply")  # noqa: B023
                    assert "before this device was reset" in str(peer.replies("reset")[-1])
                    await peer.is_alive()
                    assert runs(board, "reset") == number
                    assert board.restarts == number
            finally:
                await board.stop()

    asyncio.run(stage())


def test_a_refused_one_stays_refused_until_its_refusal_has_arrived(
    tmp_path: Path, package: Path
) -> None:
    async def script(broker: ScriptedBroker, board: SimulatedBoard) -> None:
        broker.after_suback = command("reset", "{}", 9)
        await until(lambda: runs(board, "reset"), "the reset")
        broker.after_suback = command("reset", "{}", 9, DUP) + command("light", "{}", 10)
        broker.acknowledges = False
        await until(lambda: len(replies(broker)) == 2, "two replies without PUBACK")
        broker.after_suback = command("reset", "{}", 9, DUP) + command("light", "{}", 10, DUP)
        broker.acknowledges = True
        broker.writers[-1].close()
        await until(lambda: len(broker.packets(2, boards.PUBACK)) == 2, "two PUBACKs")
        assert [reply["ok"] for reply in replies(broker)[:2]] == [False, True]
        assert (runs(board, "reset"), runs(board, "light")) == (1, 1)

    play(tmp_path, package, script, PROGRAM, timeout_s=5, keepalive_s=30)


def test_one_that_runs_while_the_connection_breaks_runs_once(tmp_path: Path, package: Path) -> None:
    async def script(broker: ScriptedBroker, board: SimulatedBoard) -> None:
        broker.after_suback = command("slow", "{}", 9)
        await until(lambda: runs(board, "slow"), "it runs")
        broker.after_suback = command("slow", "{}", 9, DUP)
        broker.writers[-1].close()
        await until(lambda: broker.packets(1, boards.PUBACK), "PUBACK")
        assert len(replies(broker)) == 1
        assert runs(board, "slow") == 1

    play(tmp_path, package, script, PROGRAM, timeout_s=5, keepalive_s=30)


def test_a_later_one_with_the_same_packet_id_and_content_runs(
    tmp_path: Path, package: Path
) -> None:
    async def script(broker: ScriptedBroker, board: SimulatedBoard) -> None:
        broker.after_suback = command("light", "{}", 9)
        await until(lambda: broker.packets(0, boards.PUBACK), "PUBACK")
        # the first delivery of a further one was lost with its connection
        broker.after_suback = command("light", "{}", 9, DUP)
        broker.writers[-1].close()
        await until(lambda: broker.packets(1, boards.PUBACK), "PUBACK")
        assert runs(board, "light") == 2
        assert all(reply["ok"] for reply in replies(broker))

    play(tmp_path, package, script, PROGRAM, timeout_s=5, keepalive_s=30)


@pytest.mark.parametrize("payload", ["{}", '{"id": 1}'])
def test_a_handler_that_resets_the_board_runs_once_although_the_flash_takes_nothing(
    tmp_path: Path, mosquitto: Mosquitto, package: Path, payload: str
) -> None:
    async def stage() -> None:
        board = joined_board(
            tmp_path / "board", settings_for(mosquitto.port, **PATIENT), PROGRAM, package
        )
        for name in ("commands", "deliveries"):  # nothing can be appended to a folder
            (board.directory / name).mkdir()
        with Application(mosquitto.port, "devices/#") as application:
            await board.start()
            try:
                peer = Peer(application)
                await until(lambda: application.payloads("/alive"), "online")
                await peer.send("reset", payload)
                await until(lambda: board.restarts, "the reset")
                await peer.is_alive()
                assert (runs(board, "reset"), board.restarts) == (1, 1)
            finally:
                await board.stop()

    asyncio.run(stage())
