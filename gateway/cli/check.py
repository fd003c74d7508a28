"""Checks configuration files."""

import os
import subprocess
import sys
from pathlib import Path

from gateway.cli.errors import CliError
from gateway.config import load_gateway_config
from gateway.errors import ConfigError


def check_config(path: Path, kind: str) -> str:
    """Return a line that says the file is good; CliError names the fault."""
    if kind == "cloud":
        _check_cloud(path)
    else:
        try:
            load_gateway_config(path, os.environ)
        except ConfigError as exc:
            raise CliError(str(exc)) from exc
    return f"{path}: good configuration for the {kind}"


def _check_cloud(path: Path) -> None:
    # the gateway does not import the cloud; a process of its own may
    command = [sys.executable, "-c", _CLOUD_CHECK, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise CliError(done.stderr.strip() or f"cannot read {path}: exit code {done.returncode}")


_CLOUD_CHECK = """
import os, pathlib, sys
from cloud.config import load_cloud_config
from settings.errors import SettingsError
try:
    load_cloud_config(pathlib.Path(sys.argv[1]), os.environ)
except SettingsError as exc:
    sys.exit(str(exc))
"""
