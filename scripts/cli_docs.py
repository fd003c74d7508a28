"""Writes docs/cli.md from the help texts of `hecate`; --check only compares."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "cli.md"
WIDTH = 100
HEAD = """# The `hecate` command

`scripts/cli_docs.py` makes this page from the command's own help; do not edit it by hand.

Every command reports errors with their reason on standard error. Exit codes: 0 done, 1 failed,
2 wrong options. Commands that answer with data print JSON with `--json`. A command that fails then
prints `{"error": "cannot X: why"}`, and the reason on standard error, too. Without a terminal, or
with `NO_COLOR` set, there are no colours and no progress bars.
"""


def main(arguments: list[str]) -> int:
    """Write the document, or compare it with what would be written."""
    text = HEAD + "".join(f"\n## `{name}`\n\n```text\n{text}```\n" for name, text in helps())
    if arguments == ["--check"]:
        if DOCUMENT.exists() and DOCUMENT.read_text() == text:
            return 0
        print("docs/cli.md is not current: run scripts/cli_docs.py", file=sys.stderr)
        return 1
    DOCUMENT.write_text(text)
    return 0


def helps() -> Iterator[tuple[str, str]]:
    """Yield each command's full name and help."""
    # one layout on every machine
    os.environ.update({"COLUMNS": str(WIDTH), "TERMINAL_WIDTH": str(WIDTH), "NO_COLOR": "1"})
    from typer.main import get_command
    from typer.testing import CliRunner

    from gateway.cli.app import app

    runner = CliRunner()
    for words in _names(get_command(app), ()):
        result = runner.invoke(app, [*words, "--help"], prog_name="hecate", terminal_width=WIDTH)
        yield " ".join(("hecate", *words)), result.stdout


def _names(command: object, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield words
    children: dict[str, object] = getattr(command, "commands", {})
    for name, child in children.items():
        if not getattr(child, "hidden", False):
            yield from _names(child, (*words, name))


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main(sys.argv[1:]))
