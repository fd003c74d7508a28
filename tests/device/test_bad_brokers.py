"""A device in the real interpreter against a broker that misbehaves in one way at a time."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from hardware.simulated import SimulatedBoard
from tests.aio import until
from tests.device import boards
from tests.device.boards import PREFIX, ScriptedBroker, joined_board, settings_for

Setup = dict[str, object]  # attributes of the scripted broker
Script = Callable[[ScriptedBroker, SimulatedBoard], Awaitable[None]]


def play(
    directory: Path, script: Script, program: str = "", setup: Setup | None = None
) -> SimulatedBoard:
    """Run a script with a device that is connected to a scripted broker."""

    async def stage() -> SimulatedBoard:
        async with ScriptedBroker() as broker:
            for name, value in (setup or {}).items():
                setattr(broker, name, value)
            board = joined_board(directory / "board", settings_for(broker.port), program)
            await board.start()
            try:
                await script(broker, board)
            finally:
                await board.stop()
        return board

    return asyncio.run(stage())


def test_connects_with_a_stored_session_and_a_will(tmp_path: Path) -> None:
    async def script(broker: ScriptedBroker, _: SimulatedBoard) -> None:
        await until(lambda: broker.readings(0), "a reading")
        connect, subscribe = broker.connections[0][:2]
        status = next(p for p in broker.connections[0] if p.topic == f"{PREFIX}/status")
        # protocol 4; user, password, retained will at QoS 1, not clean; keep-alive 1 s
        assert connect.body[:10] == b"\x00\x04MQTT\x04\xec\x00\x01"
        assert b"\x00\x07offline" in connect.body
        assert f"{PREFIX}/commands/+".encode() in subscribe.body
        assert status.flags == 0b0011
        assert status.body.endswith(b"online")

    play(tmp_path, script)


@pytest.mark.parametrize("kept", [True, False], ids=["session kept", "session gone"])
def test_resends_what_was_not_acknowledged(tmp_path: Path, kept: bool) -> None:
    async def script(broker: ScriptedBroker, _: SimulatedBoard) -> None:
        await until(lambda: len(broker.readings(0)) == 4, "the window is full")
        if kept:
            broker.connack = boards.CONNACK_SESSION_PRESENT
        broker.acknowledges = True
        broker.writers[0].close()
        await until(lambda: len(broker.readings(1)) >= 5, "the device comes back")
        first, second = broker.readings(0), broker.readings(1)
        assert not any(p.is_dup for p in first)
        again = second[:4]
        assert [p.packet_id for p in again] == [p.packet_id for p in first]
        assert [p.body for p in again] == [p.body for p in first]
        assert [p.is_dup for p in again] == [kept] * 4
        assert not second[4].is_dup

    play(tmp_path, script, setup={"acknowledges": False})


def test_leaves_a_broker_that_acknowledges_nothing(tmp_path: Path) -> None:
    async def script(broker: ScriptedBroker, board: SimulatedBoard) -> None:
        await until(lambda: len(broker.connections) > 1, "the device comes back")
        assert "no PUBACK" in board.log_path.read_text()

    play(tmp_path, script, setup={"acknowledges": False})


def test_leaves_a_broker_that_does_not_answer_pings(tmp_path: Path) -> None:
    async def script(broker: ScriptedBroker, board: SimulatedBoard) -> None:
        await until(lambda: len(broker.connections) > 1, "the device comes back")
        assert "no PINGRESP" in board.log_path.read_text()

    play(tmp_path, script, IDLE_PROGRAM, {"pings": False})


def test_stays_with_a_broker_that_answers_pings(tmp_path: Path) -> None:
    async def script(broker: ScriptedBroker, _: SimulatedBoard) -> None:
        await until(lambda: len(broker.packets(0, boards.PINGREQ)) == 3, "three pings")
        assert len(broker.connections) == 1

    play(tmp_path, script, IDLE_PROGRAM)


@pytest.mark.parametrize(
    ("setup", "reason"),
    [
        ({"connack": b""}, "no answer within 0.4 s"),
        ({"connack": b"\x20\x02\x00\x03"}, "not available"),
        ({"connack": b"\xd0\x00"}, "first packet is not CONNACK"),
        ({"connack": b"\x20\xff\xff\xff\xff\x7f"}, "length has more than 4 bytes"),
        ({"suback": b"\x80"}, "not allowed"),
        ({"after_suback": b"\x40\x02\x00\x00"}, "packet id 0"),
        ({"after_suback": boards.CONNACK}, "not expected now"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_comes_back_after(tmp_path: Path, setup: Setup, reason: str) -> None:
    async def script(broker: ScriptedBroker, board: SimulatedBoard) -> None:
        await until(lambda: len(broker.connections) > 2, "the device comes back twice")
        broker.connack, broker.suback, broker.after_suback = boards.CONNACK, b"\x01", b""
        await until(lambda: any(broker.readings(n) for n in range(2, 99)), "readings at last")
        assert reason in board.log_path.read_text()
        assert board.restarts == 0

    play(tmp_path, script, setup=setup)


def test_answers_a_command_once_though_it_comes_twice(tmp_path: Path) -> None:
    topic = f"{PREFIX}/commands/light".encode()
    body = len(topic).to_bytes(2) + topic + b"\x00\x09" + b'{"id": "c1", "on": true}'
    once, twice = bytes((0x32, len(body))) + body, bytes((0x3A, len(body))) + body

    async def script(broker: ScriptedBroker, board: SimulatedBoard) -> None:
        await until(lambda: len(broker.readings(0)) > 5, "readings after the command")
        [reply] = [p for p in broker.packets(0, boards.PUBLISH) if "/replies/" in p.topic]
        assert json.loads(reply.body.partition(b"light")[2][2:])["id"] == "c1"
        assert board.log_path.read_text().count("light on") == 1
        assert {p.body for p in broker.packets(0, boards.PUBACK)} == {b"\x00\x09"}
        sent = broker.connections[0]
        assert sent.index(reply) < sent.index(broker.packets(0, boards.PUBACK)[0])

    play(tmp_path, script, setup={"after_suback": once + twice})


IDLE_PROGRAM = """
from device import Device
Device().run()
"""
