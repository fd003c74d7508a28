"""Writes a new microservice, and finds what a folder lacks to be one."""

import re
import shlex
from pathlib import Path

from gateway.cli.errors import CliError
from gateway.cli.output import console, notes, print_json
from gateway.cli.templates import javascript_files, minimal_text, python_files
from gateway.services.images.image import ENTRIES
from gateway.services.images.manifest import FILE_NAME

CODE_NAME, JAVASCRIPT_NAME = "service.py", "index.js"


def write_folder(directory: Path, *, javascript: bool, as_json: bool) -> None:
    """Write a microservice that runs into a folder; files that are there stay as they are."""
    name, folder = name_of(directory), shlex.quote(str(directory))
    wanted = (javascript_files if javascript else python_files)(name, folder)
    other = CODE_NAME if javascript else JAVASCRIPT_NAME
    try:
        if (directory / other).exists():
            raise CliError(f"cannot write into {directory}: it is a microservice in {other}")
        directory.mkdir(parents=True, exist_ok=True)
        missing = {n: text for n, text in wanted.items() if not (directory / n).exists()}
        if not missing:
            raise CliError(
                f"cannot write into {directory}: a microservice is there; "
                f"`hecate dev {folder}` runs it"
            )
        for file, text in missing.items():
            (directory / file).write_text(text, encoding="utf-8")
    except OSError as exc:
        why = (exc.strerror or str(exc)).lower()
        raise CliError(f"cannot write into {directory}: {why}") from exc
    if as_json:
        print_json({"name": name, "written": [str(directory / file) for file in missing]})
        return
    for file in missing:
        console().print(str(directory / file), soft_wrap=True)
    if notes().is_terminal:
        _print_next_steps(folder, name)
    else:
        notes().print(f"run it with: hecate dev {folder}", soft_wrap=True)


def explain_missing(directory: Path) -> str:
    """Return what a folder lacks to be a microservice, with what to do; "" when nothing."""
    script = " --js" if (directory / JAVASCRIPT_NAME).is_file() else ""
    if not (directory / FILE_NAME).exists():
        return (
            f"no {FILE_NAME} in it. This file names the microservice, and defines where it answers "
            f"and which topics it may use. A minimal one:\n\n{minimal_text(name_of(directory))}\n"
            f"`hecate new {shlex.quote(str(directory))}{script}` writes one"
        )
    if not any((directory / entry).is_file() for entry in ENTRIES):
        return (
            f"no {CODE_NAME} or {JAVASCRIPT_NAME} in it. This file holds the code: a Service and "
            "its handlers in Python, or mimikModule.exports in JavaScript. "
            f"`hecate new {shlex.quote(str(directory))}` writes one"
        )
    return ""


def name_of(directory: Path) -> str:
    """Return a microservice's name that a folder's name suggests."""
    name = re.sub(r"[^a-z0-9]+", "-", directory.resolve().name.lower())[:40].strip("-")
    return name or "service"


def _print_next_steps(folder: str, name: str) -> None:
    steps = [
        (f"hecate dev {folder}", "run it, again after every save"),
        (f"pytest {folder}", "test it, without a gateway"),
        (f"hecate deploy {folder}", "run it for good"),
        (f"hecate invoke {name}", "call it"),
    ]
    width = max(len(command) for command, _ in steps)
    out = notes()
    out.print("\nNext:", style="dim")
    for command, what in steps:
        out.print(f"  {command:{width}}   {what}", soft_wrap=True)
