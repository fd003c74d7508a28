"""Options that several commands share, and the shape of their examples."""

from pathlib import Path
from typing import Annotated

import typer

Url = Annotated[
    str | None,
    typer.Option(
        envvar="HECATE_URL",
        help="The gateway's API. [default: http://127.0.0.1:8083]",
        show_default=False,
    ),
]
State = Annotated[
    Path | None,
    typer.Option(
        help="The gateway's state folder, where its API key is. [default: ~/.local/state/hecate]",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def examples(*lines: str) -> str:
    """Return the last part of a command's help; its line breaks are kept."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
