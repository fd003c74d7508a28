"""Reads and writes the flash of a board that runs MicroPython, by mpremote.

Scripts and files that hold secrets travel as files with mode 0600, never as arguments, which other
users of this machine could read.
"""

import asyncio
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardware.boards.errors import BoardError, SilentProgramError
from hardware.boards.ports import SerialPort
from hardware.boards.programs import ProgramResult, find_program, run_program

RUN_S = 60.0
IDENTIFY_S = 25.0  # mpremote tries for 10 s
COPY_S = 600.0
ANSWER = "hecate:"  # starts the line with an answer; boot messages may stand around it

_NO_ANSWER = (
    "it does not answer as MicroPython does; reset it, or write MicroPython to it with "
    "`hecate devices flash`"
)
_IDENTIFY = """
import json, os, sys
def read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return None
try:
    joined = json.loads(read("credentials.json") or "{}").get("device_id", "")
except (ValueError, AttributeError):
    joined = ""
stat = os.statvfs("/")
print("hecate:" + json.dumps({
    "platform": sys.platform, "machine": getattr(sys.implementation, "_machine", sys.platform),
    "version": ".".join(str(n) for n in sys.implementation.version[:3]),
    "free_bytes": stat[0] * stat[3], "device_id": joined, "has_main": read("main.py") is not None,
}))
"""
_BOARD_ID = """
from device.board import load_board
print("hecate:" + '"' + load_board().unique_id() + '"')
"""
_DIGESTS = """
import binascii, hashlib, json
for path in json.loads(%r):
    try:
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while True:
                part = file.read(512)
                if not part:
                    break
                digest.update(part)
        text = binascii.hexlify(digest.digest()).decode()
    except OSError:
        text = ""
    print("hecate:" + json.dumps([path, text]))
"""
_REMOVE = """
import os
for path in %r:
    try:
        os.remove(path)
    except OSError:
        pass
print("hecate:true")
"""


@dataclass(frozen=True, slots=True)
class BoardIdentity:
    """A board as it describes itself."""

    platform: str
    machine: str
    version: str
    free_bytes: int
    device_id: str  # "" before it has joined
    has_main: bool

    def __str__(self) -> str:
        return f"{self.machine} with MicroPython {self.version}"


class RemoteBoard:
    """A board at a serial port."""

    def __init__(self, port: SerialPort) -> None:
        self._port = port
        self._program = find_program("mpremote")

    async def identify(self) -> BoardIdentity:
        """Return what the board says about itself."""
        try:
            (answer,) = await self.ask(_IDENTIFY, "ask the board", IDENTIFY_S)
        except SilentProgramError as exc:
            raise BoardError(f"cannot ask the board: {_NO_ANSWER}") from exc
        try:
            return BoardIdentity(**answer)
        except TypeError as exc:
            raise BoardError(f"cannot ask the board: it answers {str(answer)[:80]}") from exc

    async def board_id(self) -> str:
        """Return the id with which the device package joins; the package must be on the board."""
        (answer,) = await self.ask(_BOARD_ID, "read the id of the board")
        return str(answer)

    async def copy(self, folder: Path) -> None:
        """Copy the content of a folder to the root of the flash, and verify each file."""
        contents = await asyncio.to_thread(_read_folder, folder)
        if not contents:
            return
        outcome = await self._run(["fs", "cp", "-r", f"{folder}{os.sep}.", ":"], COPY_S)
        if outcome.code:
            raise BoardError(f"cannot copy to the board: {_why(outcome)}")
        await self._verify(contents)

    async def remove(self, *paths: str) -> None:
        """Delete files."""
        await self.ask(_REMOVE % (tuple(paths),), "delete files")

    async def reset(self) -> None:
        """Start the board's program."""
        outcome = await self._run(["reset"], RUN_S)
        if outcome.code:
            raise BoardError(f"cannot reset the board: {_why(outcome)}; press its reset button")

    async def ask(self, script: str, what: str, timeout_s: float = RUN_S) -> list[Any]:
        """Run a script on the board; return the values that it prints after ANSWER."""
        with tempfile.NamedTemporaryFile("w", suffix=".py", encoding="utf-8") as file:  # mode 0600
            file.write(script)
            file.flush()
            outcome = await self._run(["run", file.name], timeout_s)
        answers = [line.removeprefix(ANSWER) for line in outcome.lines if line.startswith(ANSWER)]
        if outcome.code or not answers:
            raise BoardError(f"cannot {what}: {_why(outcome)}")
        try:
            return [json.loads(answer) for answer in answers]
        except ValueError as exc:
            raise BoardError(f"cannot {what}: its answer is spoiled") from exc

    async def _verify(self, contents: Mapping[str, bytes]) -> None:
        script = _DIGESTS % json.dumps(list(contents))
        found = dict(await self.ask(script, "verify the files on the board"))
        for name, content in contents.items():
            if found.get(name) != hashlib.sha256(content).hexdigest():
                raise BoardError(
                    f"cannot verify the files on the board: {name} is not what was copied; is its "
                    "flash full?"
                )

    async def _run(self, command: list[str], timeout_s: float) -> ProgramResult:
        self._port.check()
        connect = [str(self._program), "connect", str(self._port.device)]
        return await run_program([*connect, *command], timeout_s)


def _read_folder(folder: Path) -> dict[str, bytes]:
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def _why(outcome: ProgramResult) -> str:
    text = outcome.text
    if "could not enter raw repl" in text or "failed to access" in text:
        return _NO_ANSWER
    lines = [line for line in outcome.lines if line.strip()]
    return lines[-1].removeprefix("mpremote: ") if lines else "mpremote said nothing"
