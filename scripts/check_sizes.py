"""Fails when a source file is too long; exceptions are named here."""

import sys
from pathlib import Path

WALL, TESTS_WALL = 400, 600  # lines; aim at 80 to 250
FOLDERS = ("broker", "cloud", "device", "gateway", "hardware", "microservice", "protocol",
           "settings", "web", "benchmarks", "examples", "scripts", "tests")  # fmt: skip
EXCEPTIONS: dict[str, str] = {}  # path: reason


def main() -> int:
    """Print each file over the wall and return 1 if there is one."""
    root = Path(__file__).resolve().parent.parent
    too_long = 0
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            lines = path.read_text().count("\n")
            name = str(path.relative_to(root))
            wall = TESTS_WALL if folder == "tests" else WALL
            if lines > wall and name not in EXCEPTIONS:
                print(f"{name}: {lines} lines, at most {wall}: look for the second idea")
                too_long += 1
    return 1 if too_long else 0


if __name__ == "__main__":
    sys.exit(main())
