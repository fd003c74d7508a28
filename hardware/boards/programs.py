"""Runs esptool and mpremote as programs of their own, and follows their output by lines.

esptool is under the GPL: it is called, never imported.
"""

import asyncio
import os
import shutil
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hardware.boards.errors import BoardError, SilentProgramError

LINE_LIMIT = 64 * 1024
KEPT_LINES = 200
END_S = 5.0


@dataclass(frozen=True, slots=True)
class ProgramResult:
    """The exit code of a program, and the end of its output."""

    code: int
    lines: list[str]

    @property
    def text(self) -> str:
        """The output as one text."""
        return "\n".join(self.lines)


def find_program(name: str) -> Path:
    """Return a program of the extra `boards`; BoardError explains how to install it."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which(name)
    if found is None:
        raise BoardError(
            f"cannot reach boards: {name} is not installed; pip install 'hecate-gateway[boards]'"
        )
    return Path(found)


async def run_program(
    command: Sequence[str | Path],
    timeout_s: float,
    on_line: Callable[[str], None] | None = None,
) -> ProgramResult:
    """Run a program to its end; on_line sees each line, and may raise BoardError to end it.

    Raises:
        BoardError: it takes too long (SilentProgramError), or on_line raised it.
    """
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=LINE_LIMIT,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200", "PYTHONIOENCODING": "utf-8"},
        start_new_session=True,  # Ctrl-C is ours to pass on
    )
    lines: deque[str] = deque(maxlen=KEPT_LINES)
    try:
        async with asyncio.timeout(timeout_s):
            assert process.stdout is not None
            async for line in process.stdout:
                for part in line.decode(errors="replace").replace("\r", "\n").splitlines():
                    lines.append(part.rstrip())
                    if on_line is not None:
                        on_line(part.rstrip())
            code = await process.wait()
    except TimeoutError as exc:
        name = Path(command[0]).name
        raise SilentProgramError(f"cannot go on with {name}: it takes too long") from exc
    except ValueError as exc:
        name = Path(command[0]).name
        raise BoardError(f"cannot go on with {name}: its output has no lines") from exc
    finally:
        await _end(process)
    return ProgramResult(code, list(lines))


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), END_S)
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
