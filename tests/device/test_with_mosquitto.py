"""A device in the real interpreter, mosquitto as its broker, paho as the other side."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardware.simulated import SimulatedBoard
from tests.aio import until
from tests.device.boards import PREFIX, joined_board, settings_for
from tests.device.mosquitto import Application, Mosquitto


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as running:
        yield running


def numbers(*applications: Application) -> list[int]:
    """Return the sequence numbers of all temperatures received."""
    payloads = [p for a in applications for p in a.payloads("/readings/temperature")]
    return [json.loads(payload)["seq"] for payload in payloads]


def test_no_reading_is_lost_when_the_broker_is_killed(tmp_path: Path, broker: Mosquitto) -> None:
    async def script(board: SimulatedBoard, before: Application) -> None:
        await until(lambda: len(numbers(before)) >= 5, "five readings")
        assert board.pid
        broker.kill()
        offline = board.log_path.read_text().count("offline")
        await until(
            lambda: board.log_path.read_text().count("offline") > offline, "the device notices"
        )
        # hold the device while the application subscribes, for mosquitto has forgotten it
        os.kill(board.pid, signal.SIGSTOP)
        broker.start()
        with Application(broker.port, f"{PREFIX}/#") as after:
            os.kill(board.pid, signal.SIGCONT)
            await until(lambda: len(numbers(after)) >= 10, "ten more readings")
            received = numbers(before, after)
        assert set(received) == set(range(1, max(received) + 1))
        assert board.restarts == 0

    run(tmp_path, broker, script)


def test_the_will_fires_on_kill_9_and_the_device_returns(tmp_path: Path, broker: Mosquitto) -> None:
    async def script(board: SimulatedBoard, application: Application) -> None:
        def status() -> list[bytes]:
            return application.payloads("/status")

        await until(lambda: status() == [b"online"], "online")
        assert board.pid
        os.kill(board.pid, signal.SIGKILL)
        await until(lambda: status() == [b"online", b"offline", b"online"], "offline and online")
        assert board.restarts == 1

    run(tmp_path, broker, script)


def test_commands_are_answered_and_failures_explained(tmp_path: Path, broker: Mosquitto) -> None:
    cases = [
        ("light", '{"id": "c1", "on": true}', {"id": "c1", "ok": True, "on": True}),
        ("light", '{"id": 2, "on": 3}', "cannot run light: on is not true or false"),
        ("light", "on", "cannot read command: not a JSON object"),
        ("fan", '{"id": 4}', "cannot run fan: no such command; known: light"),
        ("light", f'{{"id": 5, "x": "{"x" * 5000}"}}', "cannot run light: it is too large"),
    ]

    async def script(board: SimulatedBoard, application: Application) -> None:
        await until(lambda: application.payloads("/status"), "online")
        for name, payload, expected in cases:
            application.messages.clear()
            await asyncio.to_thread(application.publish, f"{PREFIX}/commands/{name}", payload)
            replies = f"/replies/{name}"
            await until(lambda: application.payloads(replies), "a reply")  # noqa: B023
            reply = json.loads(application.payloads(replies)[0])
            assert expected == (reply if reply["ok"] else reply["error"])
        assert board.restarts == 0

    run(tmp_path, broker, script)


def test_a_command_waits_for_a_device_that_is_away(tmp_path: Path, broker: Mosquitto) -> None:
    async def script(board: SimulatedBoard, application: Application) -> None:
        await until(lambda: application.payloads("/status"), "online")
        await board.stop()
        command = '{"id": "later", "on": true}'
        await asyncio.to_thread(application.publish, f"{PREFIX}/commands/light", command)
        await board.start()
        await until(lambda: application.payloads("/replies/light"), "a reply")
        assert json.loads(application.payloads("/replies/light")[0])["id"] == "later"

    run(tmp_path, broker, script)


def test_publish_returns_when_the_broker_has_it(tmp_path: Path, broker: Mosquitto) -> None:
    program = """
from device import Device

device = Device()

@device.command("measure")
async def measure(args):
    delivered = []
    for number in range(args["times"]):
        delivered.append(await device.publish("door", number % 2 == 0))
    return {"delivered": delivered}

@device.every(0.05)
def broken():
    raise RuntimeError("a sensor fell off")

device.run()
"""

    async def script(board: SimulatedBoard, application: Application) -> None:
        await until(lambda: application.payloads("/status"), "online")
        command = '{"id": 1, "times": 3}'
        await asyncio.to_thread(application.publish, f"{PREFIX}/commands/measure", command)
        await until(lambda: application.payloads("/replies/measure"), "a reply")
        reply = json.loads(application.payloads("/replies/measure")[0])
        assert reply["delivered"] == [True, True, True]
        doors = [json.loads(payload)["value"] for payload in application.payloads("/door")]
        assert doors == [True, False, True]
        assert "broken failed" in board.log_path.read_text()
        assert board.restarts == 0

    run(tmp_path, broker, script, program)


def run(directory: Path, broker: Mosquitto, script: object, program: str = "") -> None:
    """Run a script with a board that has joined and an application that hears all it says."""

    async def stage() -> None:
        board = joined_board(directory / "board", settings_for(broker.port), program)
        with Application(broker.port, f"{PREFIX}/#") as application:
            await board.start()
            try:
                await script(board, application)  # type: ignore[operator]
            finally:
                await board.stop()

    asyncio.run(stage())
