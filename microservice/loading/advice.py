"""Says what to do about a service.py that cannot be loaded."""

import re
import sys
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import TracebackType

_NATIVE = re.compile(r"\.cpython-(\d)(\d+)-(.+)\.so")  # PEP 3149


def advise_python(exc: Exception, code: Path) -> str:
    """Return the next step for an error of service.py, to be put behind it; "" if unknown."""
    if not isinstance(exc, ImportError):
        return ""
    built_for = _foreign_platform(code)
    if built_for:
        return f"; its packages are for {built_for}: build it again for this gateway"
    package = (exc.name or "").partition(".")[0]
    if not isinstance(exc, ModuleNotFoundError) or not package or _is_known(package, code):
        return ""
    return f"; write the package that has {package} into requirements.txt beside service.py"


def own_frames(traceback: TracebackType | None, code: Path) -> TracebackType | None:
    """Return the part of a traceback that begins in the developer's code; None without one."""
    while traceback is not None:
        if Path(traceback.tb_frame.f_code.co_filename).is_relative_to(code):
            return traceback
        traceback = traceback.tb_next
    return None


def _is_known(package: str, code: Path) -> bool:
    """Return whether a package is there, so that something in it is missing."""
    return package in sys.stdlib_module_names or any(
        (folder / package).is_dir() or (folder / f"{package}.py").is_file()
        for folder in (code, *map(Path, sys.path))
    )


def _foreign_platform(code: Path) -> str:
    """Return the platform of native modules, if none of them is for this interpreter."""
    own = next(one for one in EXTENSION_SUFFIXES if "cpython" in one)
    found = ""
    for path in _native_modules(code):
        if path.name.endswith(own):
            return ""
        match = _NATIVE.search(path.name)
        if match is not None:
            found = f"Python {match[1]}.{match[2]} on {match[3]}"
    return found


def _native_modules(code: Path) -> Iterator[Path]:
    for path in code.rglob("*.so"):
        if _NATIVE.search(path.name):
            yield path
