"""Runs `hecate` in this process, as a person with a home of their own would."""

import os
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from typer.testing import CliRunner

from gateway.cli.app import app
from gateway.cli.errors import CliError


@dataclass(frozen=True, slots=True)
class Result:
    """A command's exit code, and the texts that it printed."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Person:
    """A person who types commands; `home` is their home."""

    home: Path

    def hecate(self, *words: str, given: str = "", **environ: str) -> Result:
        """Run one command."""
        mine = {k: v for k, v in os.environ.items() if not k.startswith("HECATE_")}
        mine |= {"HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / ".config")}
        with patch.dict(os.environ, {**mine, "NO_COLOR": "1", **environ}, clear=True):
            done = CliRunner().invoke(app, words, input=given, prog_name="hecate")
        if isinstance(done.exception, CliError):  # as gateway/__main__.py does
            return Result(done.exception.exit_code, done.stdout, f"{done.exception}\n")
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Result(done.exit_code, done.stdout, done.stderr)

    def done(self, *words: str, given: str = "", **environ: str) -> str:
        """Return what a command prints that must succeed."""
        result = self.hecate(*words, given=given, **environ)
        assert result.code == 0, result.err
        return result.out

    def refused(self, *words: str, given: str = "", **environ: str) -> str:
        """Return what a command says that must fail."""
        result = self.hecate(*words, given=given, **environ)
        assert (result.code, result.out) == (1, "")
        assert result.err.startswith("cannot ")
        return result.err
