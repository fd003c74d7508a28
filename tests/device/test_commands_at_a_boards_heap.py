"""Hostile commands for a device with the memory of a small board; mosquitto is the broker."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from hardware.simulated import SimulatedBoard
from tests.aio import until
from tests.device.boards import PREFIX, joined_board, settings_for
from tests.device.mosquitto import Application, Mosquitto

PROGRAM = """
from device import Device
device = Device()

@device.command
def echo(args):
    return {"back": args.get("x", "")}

@device.command
def big(args):
    return {"text": "x" * args["size"]}

@device.command
def shout(args):
    raise ValueError("w" * 5000)

@device.command
def broken(args):
    raise RuntimeError("w" * 5000)

@device.command
def count(args):
    print("count runs")

@device.command
def bad(args):
    return {"nan": float("nan"), "set": set(), "bytes": b"x"}[args["kind"]]

@device.command
async def stuck(args):
    import asyncio
    while True:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            print("stuck goes on")

@device.every(0.2)
def alive():
    return 1

device.run()
"""
Script = Callable[[SimulatedBoard, "Peer"], Awaitable[None]]
PATIENT = {"timeout_s": 5, "keepalive_s": 2}


class Peer:
    """Sends commands and finds their replies."""

    def __init__(self, application: Application) -> None:
        self.application = application

    async def send(self, name: str, payload: str) -> None:
        """Publish a command."""
        await asyncio.to_thread(self.application.publish, f"{PREFIX}/commands/{name}", payload)

    def replies(self, name: str) -> list[dict[str, object]]:
        """Return the replies of a command."""
        return [json.loads(p) for p in self.application.payloads(f"/replies/{name}")]

    async def ask(self, name: str, payload: str, reply_name: str = "") -> dict[str, object]:
        """Return the reply to a command."""
        before = len(self.replies(reply_name or name))
        await self.send(name, payload)
        await until(lambda: len(self.replies(reply_name or name)) > before, f"a reply to {name}")
        return self.replies(reply_name or name)[before]

    async def is_alive(self) -> None:
        """Return when the device has sent a further reading and answered a command."""
        before = len(self.application.payloads("/alive"))
        await until(lambda: len(self.application.payloads("/alive")) > before + 2, "readings")
        assert (await self.ask("echo", '{"x": 7}'))["back"] == 7


def play(
    directory: Path, broker: Mosquitto, package: Path, script: Script, **settings: Any
) -> None:
    """Run a script with a small board; it must never be reset."""

    async def stage() -> None:
        impatient = settings_for(broker.port, **(PATIENT | settings))
        board = joined_board(directory / "board", impatient, PROGRAM, package)
        with Application(broker.port, f"{PREFIX}/#") as application:
            await board.start()
            try:
                await until(lambda: application.payloads("/status"), "online")
                peer = Peer(application)
                await script(board, peer)
                await peer.is_alive()
                assert application.payloads("/status") == [b"online"]
                assert board.restarts == 0
            finally:
                await board.stop()

    asyncio.run(stage())


# case D1
def test_a_command_cannot_reset_the_device(
    tmp_path: Path, mosquitto: Mosquitto, package: Path
) -> None:
    async def script(board: SimulatedBoard, peer: Peer) -> None:
        reply = await peer.ask("n" * 2200, '{"id": 1}', "invalid-name")
        assert "its name is not 1 to 64" in str(reply["error"])
        for unusable in (json.dumps("i" * 3970), "[" * 1500 + "]" * 1500, "1e999", '"\\ud800"'):
            reply = await peer.ask("echo", f'{{"id": {unusable}}}')
            assert not reply["ok"], unusable[:10]
            assert reply["id"] is None
        for name in ("shout", "broken"):
            reply = await peer.ask(name, '{"id": 2}')
            assert "wwww" in str(reply["error"])
            assert len(str(reply["error"])) <= 160
        assert len(board.log_path.read_bytes()) < 4000

    play(tmp_path, mosquitto, package, script)


# case D2
def test_a_burst_of_large_commands_is_refused_or_answered(
    tmp_path: Path, mosquitto: Mosquitto, package: Path
) -> None:
    async def script(_: SimulatedBoard, peer: Peer) -> None:
        for number in range(12):
            await peer.send("echo", json.dumps({"id": number, "x": "y" * 3500}))
        await until(lambda: len(peer.replies("echo")) == 12, "twelve replies")
        for reply in peer.replies("echo"):
            assert len(str(reply["back"])) == 3500 if reply["ok"] else "cannot run" in str(reply)
        assert any(reply["ok"] for reply in peer.replies("echo"))

    play(tmp_path, mosquitto, package, script)


# case D3
def test_a_long_name_of_wide_characters_and_a_large_reply_do_not_silence_it(
    tmp_path: Path, mosquitto: Mosquitto, package: Path
) -> None:
    async def script(_: SimulatedBoard, peer: Peer) -> None:
        assert not (await peer.ask("ä" * 1270, '{"id": 1}', "invalid-name"))["ok"]
        assert len(str((await peer.ask("big", '{"size": 3850}'))["text"])) == 3850
        assert not (await peer.ask("big", '{"size": 5000}'))["ok"]

    play(tmp_path, mosquitto, package, script)


# case D13
def test_large_replies_share_one_bound(tmp_path: Path, mosquitto: Mosquitto, package: Path) -> None:
    async def script(_: SimulatedBoard, peer: Peer) -> None:
        for number in range(8):
            await peer.send("big", json.dumps({"id": number, "size": 3800}))
        await until(lambda: len(peer.replies("big")) == 8, "eight replies")
        assert any(reply["ok"] for reply in peer.replies("big"))

    play(tmp_path, mosquitto, package, script)


# case D14
def test_a_handler_that_never_returns_is_answered_for(
    tmp_path: Path, mosquitto: Mosquitto, package: Path
) -> None:
    async def script(_: SimulatedBoard, peer: Peer) -> None:
        reply = await peer.ask("stuck", '{"id": "s"}')
        assert reply["error"] == "cannot run stuck: took longer than 500 ms"

    play(tmp_path, mosquitto, package, script, call_limit_s=0.5)


# case D9
def test_a_result_that_is_not_json_is_an_error(
    tmp_path: Path, mosquitto: Mosquitto, package: Path
) -> None:
    async def script(_: SimulatedBoard, peer: Peer) -> None:
        for kind, why in (("nan", "not a finite"), ("set", "not a JSON type"), ("bytes", "bytes")):
            assert why in str((await peer.ask("bad", json.dumps({"kind": kind})))["error"])

    play(tmp_path, mosquitto, package, script)


# case D4
def test_retained_and_expired_commands_do_not_run(
    tmp_path: Path, mosquitto: Mosquitto, package: Path
) -> None:
    async def script(board: SimulatedBoard, peer: Peer) -> None:
        now = int(time.time())
        assert (await peer.ask("count", json.dumps({"id": 1, "expires": now + 60})))["ok"]
        reply = await peer.ask("count", json.dumps({"id": 2, "expires": now - 60}))
        assert "it has expired" in str(reply["error"])
        for number, never in enumerate(('"soon"', "true", "[1]", "1e999", "-1e999"), 3):
            reply = await peer.ask("count", f'{{"id": {number}, "expires": {never}}}')
            assert "not a number of unix seconds" in str(reply["error"])
            assert reply["id"] == number
        assert "has run already" in str((await peer.ask("count", '{"id": 1}'))["error"])
        assert board.log_path.read_text().count("count runs") == 1

    play(tmp_path, mosquitto, package, script)
