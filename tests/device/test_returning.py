"""A device comes back soon after whatever kept it away, unless that would burden the gateway."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from hardware.simulated import SimulatedBoard
from tests.aio import until
from tests.device import boards
from tests.device.boards import ScriptedBroker, joined_board, output, settings_for
from tests.device.test_faults import COUNTING
from tests.ports import free_port

# Twenty pauses that double to an hour would take days.
QUICK: dict[str, Any] = {"retry_first_s": 0.02, "retry_cap_s": 0.05, "refused_cap_s": 3600}


async def see_rounds(directory: Path, package: Path, port: int, rounds: int) -> SimulatedBoard:
    """Return a board that has tried so often."""
    board = joined_board(directory / "board", settings_for(port, **QUICK), COUNTING, package)
    await board.start()
    try:
        await until(lambda: f"round {rounds}" in output(board), f"{rounds} attempts")
    except BaseException:
        await board.stop()
        raise
    return board


def test_a_refused_connection_is_tried_again_soon(tmp_path: Path, package: Path) -> None:
    async def stage() -> None:
        port = free_port()
        board = await see_rounds(tmp_path, package, port, 20)
        try:
            assert "cannot connect: [Errno 111] ECONNREFUSED" in output(board)
            async with ScriptedBroker(port) as broker:
                await until(lambda: broker.packets(0, boards.SUBSCRIBE), "its return")
        finally:
            await board.stop()

    asyncio.run(stage())


def test_a_connection_that_nobody_serves_is_tried_again_soon(tmp_path: Path, package: Path) -> None:
    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def stage() -> None:
        server = await asyncio.start_server(close, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        board = await see_rounds(tmp_path, package, port, 20)
        await board.stop()
        server.close()

    asyncio.run(stage())


def test_a_host_that_does_not_answer_is_tried_again_soon(tmp_path: Path, package: Path) -> None:
    async def stage() -> None:
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            port = full.getsockname()[1]
            fillers = [socket.socket() for _ in range(8)]
            for filler in fillers:  # the queue of the listener is full: SYNs are dropped
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            board = await see_rounds(tmp_path, package, port, 12)
            await board.stop()
            assert "no answer within 0.2 s" in output(board)
            for filler in fillers:
                filler.close()

    asyncio.run(stage())


@pytest.mark.parametrize("answer", [b"\x20\x02\x00\x03", b"\x20\x02\x00\x05", b"\xd0\x00", b""])
def test_a_gateway_that_refuses_is_asked_less_and_less(
    tmp_path: Path, package: Path, answer: bytes
) -> None:
    async def stage() -> None:
        async with ScriptedBroker() as broker:
            broker.connack = answer
            settings = settings_for(broker.port, timeout_s=0.1, **QUICK)
            board = joined_board(tmp_path / "board", settings, COUNTING, package)
            await board.start()
            try:
                await until(lambda: "round 6" in output(board), "six attempts")
                await until(lambda: "round 7" in output(board), "a seventh attempt")
                # the sensor prints every 50 ms; the pause was 320 to 640 ms
                assert output(board).count("round 6\n") >= 4
            finally:
                await board.stop()

    asyncio.run(stage())


def test_a_gateway_that_is_gone_is_noticed_while_it_owes_a_puback(
    tmp_path: Path, package: Path
) -> None:
    async def stage() -> None:
        async with ScriptedBroker() as broker:
            broker.acknowledges = broker.pings = False
            late = settings_for(broker.port, keepalive_s=600, timeout_s=1)
            board = joined_board(tmp_path / "board", late, "", package)
            await board.start()
            try:
                await until(lambda: len(broker.connections) > 1, "another connection")
                assert "no PINGRESP within 0.5 s" in output(board)
                assert broker.packets(0, boards.PINGREQ)
            finally:
                await board.stop()

    asyncio.run(stage())
