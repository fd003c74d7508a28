"""The same test files in the real MicroPython interpreter, and those that only run there."""

import subprocess
from pathlib import Path

import pytest

from hardware.simulated import find_micropython

ROOT = Path(__file__).resolve().parents[2]
FILES = [
    *sorted((ROOT / "tests/device/pure").glob("*.py")),
    *sorted((ROOT / "tests/device/board").glob("*.py")),
]


def run_on_micropython(path: Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    runner = ROOT / "tests/device/runner.py"
    return subprocess.run(
        [find_micropython(), "-X", "heapsize=2M", runner, path],
        env={"PATH": "", "MICROPYPATH": f".frozen:{ROOT}"},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.stem))
def test_on_micropython(path: Path) -> None:
    result = run_on_micropython(path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "passed test_" in result.stdout


def test_the_runner_reports_a_failure(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("def test_x():\n    assert 1 == 2\n")
    result = run_on_micropython(broken)
    assert result.returncode == 1
    assert "FAILED test_x" in result.stdout
