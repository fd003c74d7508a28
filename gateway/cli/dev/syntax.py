"""Checks the syntax of Python files before they are sent."""

import traceback
import warnings
from pathlib import Path

from gateway.services.errors import ImageError
from gateway.services.images.pack import list_files


def find_syntax_error(folder: Path) -> str:
    """Return the first syntax error of a folder, with its file, line and place; "" without one."""
    try:
        paths = list_files(folder).values()
    except (ImageError, OSError):
        return ""  # the build explains it
    for path in paths:
        if path.suffix == ".py" and (error := _error_in(path)):
            return error
    return ""


def _error_in(path: Path) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    except SyntaxError as exc:
        where = "" if exc.filename else f"{path}: "  # of a NUL byte
        return where + "".join(traceback.format_exception_only(exc)).rstrip()
    except (ValueError, OSError) as exc:
        return f"{path}: {exc}"
    return ""
