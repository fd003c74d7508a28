"""Programs whose functions raise what is no Exception, and boards with files that are none."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hardware.simulated import SimulatedBoard, write_private
from tests.aio import until
from tests.device import boards
from tests.device.boards import ScriptedBroker
from tests.device.test_crashes import value_of
from tests.device.test_faults import CLAIM, PATIENT, command, play, replies

RAISING = """
import asyncio
from device import Device
device = Device()

class Odd(BaseException):
    pass

class Mute(Exception):
    def __str__(self):
        raise ValueError("no text")

KINDS = {"cancelled": asyncio.CancelledError, "odd": Odd, "exit": GeneratorExit, "mute": Mute}

@device.command
def plain(args):
    raise KINDS[args["kind"]]()

@device.command
async def later(args):
    await asyncio.sleep(0)
    raise KINDS[args["kind"]]()

def add(kind):
    @device.every(0.05, "sensor-" + kind)
    def sensor():
        sensor_calls[kind] = sensor_calls.get(kind, 0) + 1
        raise KINDS[kind]()

sensor_calls = {}
for kind in KINDS:
    add(kind)

@device.every(0.05)
def least():
    return min([sensor_calls.get(kind, 0) for kind in KINDS])

device.run()
"""


def test_whatever_a_function_raises_is_answered_and_ends_no_task(
    tmp_path: Path, package: Path
) -> None:
    kinds = ("cancelled", "odd", "exit", "mute")

    async def script(broker: ScriptedBroker, board: SimulatedBoard) -> None:
        await until(lambda: broker.readings(0), "online")
        asked = [(name, kind) for name in ("plain", "later") for kind in kinds]
        for number, (name, kind) in enumerate(asked, 1):
            payload = f'{{"id": {number}, "kind": "{kind}"}}'
            broker.writers[-1].write(command(name, payload, number))
            await until(lambda: len(replies(broker)) == number, f"a reply to {name} {kind}")  # noqa: B023
            assert not replies(broker)[-1]["ok"]
        await until(lambda: len(broker.packets(0, boards.PUBACK)) == len(asked), "PUBACKs")
        await until(lambda: int(str(value_of(broker, "least") or 0)) > 20, "sensors go on")
        assert "it raised CancelledError" in str(replies(broker)[0]["error"])
        assert (len(broker.connections), board.restarts) == (1, 0)

    play(tmp_path, package, script, RAISING, **PATIENT)


REPORTING = """
from device import Device
device = Device()

@device.command
def tell(args):
    device.report(note="x" * args["size"])

@device.every(0.05)
def beat():
    return 1

device.run()
"""


def test_a_report_that_fits_no_packet_and_an_endless_expiry_are_refused(
    tmp_path: Path, package: Path
) -> None:
    async def script(broker: ScriptedBroker, board: SimulatedBoard) -> None:
        await until(lambda: broker.readings(0), "online")
        asked = ('{"id": 1, "size": 6000}', '{"id": 2, "size": 1, "expires": 1e999}')
        for number, payload in enumerate(asked, 1):
            broker.writers[-1].write(command("tell", payload, number))
            await until(lambda: len(replies(broker)) == number, "a reply")  # noqa: B023
            assert not replies(broker)[-1]["ok"], replies(broker)[-1]
        assert "cannot publish" in str(replies(broker)[0]["error"])
        assert "expires is not a number" in str(replies(broker)[1]["error"])
        broker.writers[-1].write(command("tell", '{"id": 3, "size": 1}', 3))
        await until(lambda: len(replies(broker)) == len(asked) + 1, "a reply")
        assert replies(broker)[-1]["ok"]
        assert (len(broker.connections), board.restarts) == (1, 0)

    play(tmp_path, package, script, REPORTING, **PATIENT)


@pytest.mark.parametrize("call", ["raise SystemExit", "raise Odd", "raise asyncio.CancelledError"])
def test_a_program_that_ends_itself_is_a_crash(tmp_path: Path, package: Path, call: str) -> None:
    program = f"""
import asyncio
from device import Device

class Odd(BaseException):
    pass

class Board:
    def reset(self):
        print("board reset")
        raise SystemExit(1)

device = Device()
reset, device.board = device.board, Board()

async def main():
    {call}

device.main = main
device.run()
"""

    async def script(_: ScriptedBroker, board: SimulatedBoard) -> None:
        await until(lambda: "board reset" in boards.output(board), "a reset")

    play(tmp_path, package, script, program, **PATIENT)


def make_folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()
    (path / "x").write_text("x")


def make_large(path: Path) -> None:
    write_private(path, "x" * 1_000_000)


def make_noise(path: Path) -> None:
    write_private(path, "")
    path.write_bytes(os.urandom(300))


NAMES = (
    "claim",
    "boots",
    "commands",
    "deliveries",
    "address",
    "config.good",
    "queue",
    "queue/00000001",
)


@pytest.mark.parametrize("spoil", [make_folder, make_large, make_noise])
# case D12
def test_files_that_are_none_keep_no_device_offline(
    tmp_path: Path, package: Path, spoil: Callable[[Path], None]
) -> None:
    async def script(broker: ScriptedBroker, board: SimulatedBoard) -> None:
        await until(lambda: broker.readings(0), "online")
        for name in NAMES:
            path = board.directory / name
            if not path.parent.is_file():  # the queue itself may be one now
                path.parent.mkdir(exist_ok=True)
                spoil(path)
        before = len(broker.connections)
        assert board.pid
        os.kill(board.pid, 9)
        await until(lambda: broker.readings(before), "online again")
        broker.writers[-1].write(command("light", '{"id": 1, "on": true}', 1))
        broker.writers[-1].write(command("light", '{"on": true}', 2))
        await until(lambda: len(replies(broker)) == 2, "two replies")
        assert all(reply["ok"] for reply in replies(broker))
        assert board.restarts == 1

    play(tmp_path, package, script, **PATIENT)


@pytest.mark.parametrize("spoil", [make_folder, make_large, make_noise])
# case D12
def test_credentials_that_are_no_file_give_way_to_a_claim(
    tmp_path: Path, package: Path, spoil: Callable[[Path], None]
) -> None:
    async def script(broker: ScriptedBroker, board: SimulatedBoard) -> None:
        await until(lambda: broker.readings(0), "online")
        spoil(board.directory / "credentials.json")
        write_private(board.directory / "claim", CLAIM)
        before = len(broker.connections)
        assert board.pid
        os.kill(board.pid, 9)
        await until(lambda: CLAIM.encode() in body_of(broker, before), "it joins with the claim")
        assert "cannot read credentials.json" in boards.output(board)

    play(tmp_path, package, script, **PATIENT)


def body_of(broker: ScriptedBroker, number: int) -> bytes:
    """Return the body of a connection's first packet; nothing while it has not come."""
    return next((p.body for p in broker.packets(number, boards.CONNECT)), b"")
