"""Runs a maker's device program without a board, for `hecate devices run`."""

import asyncio
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gateway.cli.client.sidecar import SidecarClient
from gateway.cli.client.target import Target
from gateway.cli.errors import CliError
from gateway.cli.output import notes
from hardware.simulated import (
    CREDENTIALS,
    HEAP,
    BoardLimits,
    DeviceSettings,
    SimulatedBoard,
    SimulatedBoardError,
    find_micropython,
)
from settings.secret import Secret

CLAIM_TTL_S = 600
PATIENT_S = 1.0  # between restarts, at first


@dataclass(frozen=True, slots=True)
class DeviceProgram:
    """Names a program and the board that it is to run on."""

    files: tuple[Path, ...]  # the first one is main.py
    flash: Path
    mqtt: tuple[str, int]
    name: str
    heap: str = HEAP
    more: dict[str, object] = field(default_factory=dict)


async def run_device_program(find: Callable[[], Target], program: DeviceProgram) -> None:
    """Run a program until it is interrupted; make a claim token if the board has to join.

    Raises:
        CliError: a file or the interpreter is missing, or the gateway makes no claim token.
    """
    await asyncio.to_thread(_prepare, program)
    claim = None
    if not (program.flash / CREDENTIALS).exists():
        async with SidecarClient(find()) as sidecar:
            body = {"uses": 1, "ttl_s": CLAIM_TTL_S}
            answer = await sidecar.call(
                "make a claim token", "POST", "/devices/v1/claims", json=body
            )
        claim = Secret(str(answer["token"]))
    board = _board(program, claim)
    notes().print(f"flash in {program.flash}; Ctrl-C ends the program", style="dim")
    try:
        await board.start()
        await asyncio.Event().wait()
    except SimulatedBoardError as exc:
        raise CliError(str(exc)) from exc
    finally:
        await board.stop()


def _prepare(program: DeviceProgram) -> None:
    for path in program.files:
        if not path.is_file():
            raise CliError(f"cannot run {path}: no such file")
    try:
        find_micropython()
        program.flash.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in program.files[1:]:
            shutil.copyfile(path, program.flash / path.name)
    except SimulatedBoardError as exc:
        raise CliError(str(exc)) from exc
    except OSError as exc:
        raise CliError(f"cannot fill the flash {program.flash}: {exc}") from exc


def _board(program: DeviceProgram, claim: Secret | None) -> SimulatedBoard:
    settings = DeviceSettings(program.name, "simulated", *program.mqtt, claim, more=program.more)
    limits = BoardLimits(restart_first_s=PATIENT_S, heap=program.heap)
    return SimulatedBoard(program.flash, settings, program.files[0], limits, echo=_echo)


def _echo(output: bytes) -> None:
    sys.stdout.buffer.write(output)
    sys.stdout.buffer.flush()


def read_settings(path: Path | None) -> dict[str, object]:
    """Return the further settings of a JSON file in the form of config.json."""
    if path is None:
        return {}
    try:
        table = json.loads(path.read_text())
    except (OSError, ValueError) as exc:
        raise CliError(f"cannot read {path}: {exc}") from exc
    if not isinstance(table, dict):
        raise CliError(f"cannot read {path}: not a JSON object")
    return table
