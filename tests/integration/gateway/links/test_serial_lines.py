import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

import pytest
import serial  # type: ignore[import-untyped]  # it has no types

from gateway.links.serial_lines import SerialLines
from gateway.links.settings import SerialSettings
from protocol.chunks.wire import encode_cobs
from tests.aio import until
from tests.cable import Cable
from tests.link_gateway import LinkGateway, link_gateway
from tests.programs import PATIENCE


@pytest.fixture
def cable(tmp_path: Path) -> Iterator[Cable]:
    with Cable(tmp_path / "dev") as cable:
        yield cable


@asynccontextmanager
async def lines_at(tmp_path: Path, *paths: Path) -> AsyncIterator[tuple[LinkGateway, SerialLines]]:
    async with link_gateway(tmp_path) as gateway:
        settings = tuple(SerialSettings(str(path)) for path in paths)
        lines = SerialLines(gateway.links, settings, tmp_path / "dev", retry_s=0.1)
        serving = asyncio.create_task(lines.run())
        try:
            yield gateway, lines
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 30 * PATIENCE))


def hold(port: IO[bytes]) -> "subprocess.Popen[bytes]":
    """Start a program that has a port open."""
    return subprocess.Popen(["sleep", "1000"], stdin=port)


def problem(lines: SerialLines) -> str:
    return "; ".join(status.problem for status in lines.closed())


def test_a_port_that_is_not_there_is_waited_for_and_harms_no_other(
    tmp_path: Path, cable: Cable
) -> None:
    async def work() -> None:
        missing, path = tmp_path / "dev/ttyUSB9", cable.plug()
        async with lines_at(tmp_path, missing, path) as (gateway, lines):
            await until(lambda: "no such port" in problem(lines), "it says so")
            await until(lambda: [s.name for s in gateway.links.status()] == [f"serial:{path}"])
            missing.symlink_to(path)  # another name of a port that is open: exclusive
            await until(lambda: "cannot open" in problem(lines), "it says so")

    run(work())


# case L19
def test_a_port_that_another_program_holds_is_named_with_it(tmp_path: Path, cable: Cable) -> None:
    async def work() -> None:
        path = cable.plug()
        with path.open("rb", buffering=0) as port:
            holder = hold(port)
        try:
            async with lines_at(tmp_path, path) as (gateway, lines):
                named = f"sleep (pid {holder.pid}) has it open"
                await until(lambda: named in problem(lines), "the holder is named")
                holder.kill()
                holder.wait()
                await until(lambda: gateway.links.status(), "it opens when the program has ended")
        finally:
            holder.kill()
            holder.wait()

    run(work())


# case L19
def test_a_port_that_is_closed_to_the_user_is_named_with_the_group(
    tmp_path: Path, cable: Cable, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        path = cable.plug()
        monkeypatch.setattr("hardware.boards.ports.os.access", lambda *_: False)
        monkeypatch.setattr("hardware.boards.ports.os.getgroups", list)
        async with lines_at(tmp_path, path) as (_, lines):
            await until(lambda: "you are not in group" in problem(lines), "the group is named")

    run(work())


def test_a_port_is_lent_to_another_program(tmp_path: Path, cable: Cable) -> None:
    async def work() -> None:
        path = cable.plug()
        async with lines_at(tmp_path, path) as (gateway, lines):
            await until(lambda: gateway.links.status(), "it is open")
            other_name = tmp_path / "dev/serial/by-id" / path.name
            other_name.symlink_to(path)
            assert await lines.pause(other_name, 600)
            await until(lambda: "paused" in problem(lines), "it is closed")
            serial.Serial(str(path.resolve()), exclusive=True).close()
            assert not gateway.links.status()
            assert await lines.pause(path, 0)
            await until(lambda: gateway.links.status(), "it is open again")
            assert not await lines.pause(tmp_path / "dev/ttyUSB5", 600)

    run(work())


def test_noise_that_looks_like_chunks_is_counted_and_harms_nothing(
    tmp_path: Path, cable: Cable
) -> None:
    async def work() -> None:
        path = cable.plug()
        async with lines_at(tmp_path, path) as (gateway, _):
            await until(lambda: gateway.links.status(), "it is open")
            (status,) = gateway.links.status()
            for _ in range(100):
                cable.put_noise(b"text\r\n" + encode_cobs(os.urandom(100)))
            await until(lambda: status.counters.spoiled > 50)
            assert status.counters.spoiled == status.counters.chunks_received
            assert gateway.broker.counters.connections_total == 0

    run(work())
