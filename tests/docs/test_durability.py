"""docs/durability.md: its commands work, in small, and its table names the checker's rules."""

import re
import shlex
import subprocess
import sys

import pytest

import tests.faults.checker
from tests.peers import require
from tests.programs import PATIENCE, ROOT

TEXT = (ROOT / "docs" / "durability.md").read_text()
LINES = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
LONG = re.compile("mosquitto|queues|link")
SMALL = {"--rounds": "1", "--steps": "30", "--moments": "5"}


def in_small(line: str) -> list[str]:
    program, *words = shlex.split(line)
    assert program == ".venv/bin/python"
    pairs = zip(["", *words], words, strict=False)
    return [sys.executable, *(SMALL.get(before, word) for before, word in pairs)]


def say_in_small(line: str, codes: set[int]) -> None:
    result = subprocess.run(
        in_small(line), cwd=ROOT, capture_output=True, text=True, check=False, timeout=90 * PATIENCE
    )
    assert result.returncode in codes, result.stdout + result.stderr
    assert re.search(r"messages (sent|acknowledged)|moments of", result.stdout), result.stderr


@pytest.mark.timeout(120)
@pytest.mark.parametrize("line", [line for line in LINES if not LONG.search(line)])
def test_a_command_works(line: str) -> None:
    say_in_small(line, {0})


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("line", [line for line in LINES if re.search("queues|link", line)])
def test_a_longer_command_works(line: str) -> None:
    say_in_small(line, {0})


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("line", [line for line in LINES if "mosquitto" in line])
def test_a_command_works_with_mosquitto(line: str) -> None:
    require("mosquitto")
    say_in_small(line, {0, 1})  # promises may be broken


def test_the_rules_are_the_checkers() -> None:
    said = re.findall(r"^\| (\w+) \| .+ \|$", TEXT.split("## How")[0], re.MULTILINE)
    doc = tests.faults.checker.__doc__ or ""
    kept = re.findall(r"^(\w+) {3,}\w", doc, re.MULTILINE)
    assert said[1:] == kept
    assert len(kept) == 12
