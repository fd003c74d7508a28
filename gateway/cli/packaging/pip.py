"""Runs pip for another machine.

pip takes the tags of wheels from options, but judges environment markers, such as
`; python_version < "3.12"`, by the interpreter that runs it (pypa/pip#11010). Hence a small program
starts it that answers for the target.
"""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.cli.errors import CliError
from gateway.cli.packaging.platforms import ImagePlatform

PATCH_RELEASE = "99"  # a marker that names one sees the newest
_PROGRAM = """
import json, platform, runpy, sys
machine, python, full = json.loads(sys.argv.pop(1))
platform.machine = lambda: machine
platform.python_version = lambda: full
platform.python_version_tuple = lambda: tuple(full.split("."))
sys.argv[0] = "pip"
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
_INDEX_S = 60.0


@dataclass(frozen=True, slots=True)
class PipResult:
    """The exit code of pip, and all that it printed."""

    code: int
    output: str


def check_pip() -> None:
    """Return if this interpreter has pip; CliError names the remedy."""
    if importlib.util.find_spec("pip") is None:
        raise CliError(
            f"cannot resolve requirements.txt: {sys.executable} has no pip; install it with "
            f"`{sys.executable} -m ensurepip`"
        )


def download(
    arguments: list[str],
    destination: Path,
    platform: ImagePlatform,
    folder: Path,
    on_line: Callable[[str], None],
) -> PipResult:
    """Download wheels for a platform; paths in requirements count from the folder."""
    words = ["download", "--dest", str(destination), "--only-binary=:all:", "--progress-bar=off"]
    for tag in platform.wheel_platforms():
        words += ["--platform", tag]
    words += ["--implementation", "cp", "--abi", platform.abi]
    words += ["--python-version", platform.python, *arguments]
    full = f"{platform.python}.{PATCH_RELEASE}"
    given = json.dumps([platform.machine, platform.python, full])
    # the environment has the user's index; -I would hide it, -P only the folder's own modules
    command = [sys.executable, "-P", "-c", _PROGRAM, given, *words]
    with subprocess.Popen(  # noqa: S603  # our own interpreter
        command,
        cwd=folder,
        env=_environment(os.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        lines = []
        for line in process.stdout or ():
            lines.append(line)
            on_line(line.strip())
    return PipResult(process.returncode, "".join(lines))


def is_on_index(name: str, folder: Path) -> bool:
    """Return whether the index has any file of a package; True when pip cannot tell."""
    command = [sys.executable, "-P", "-m", "pip", "index", "versions", "--pre", name]
    try:
        done = subprocess.run(  # noqa: S603  # our own interpreter
            command, cwd=folder, env=_environment(os.environ), capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=_INDEX_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return True
    return done.returncode == 0 or "No matching distribution" not in done.stdout + done.stderr


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    ours = {
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_COLOR": "1",
        "PIP_NO_INPUT": "1",
        "PIP_REQUIRE_VIRTUALENV": "0",  # nothing is installed
        "PIP_NO_PYTHON_VERSION_WARNING": "1",
    }
    return {**environ, **ours}
