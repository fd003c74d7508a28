"""Defines the options that several commands share, and runs commands."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from gateway.cli.client.target import Target

T = TypeVar("T")

Url = Annotated[
    str | None,
    typer.Option(
        envvar="HECATE_URL",
        help="The gateway's API. [default: that of the context, or http://127.0.0.1:8083]",
        show_default=False,
    ),
]
State = Annotated[
    Path | None,
    typer.Option(
        readable=False,  # a later error explains the remedy
        help="The gateway's state folder, where its API key is. [default: ~/.local/state/hecate]",
        show_default=False,
    ),
]


Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@dataclass(frozen=True, slots=True)
class Given:
    """Options that stood before a subcommand; those behind it win."""

    url: str | None
    state: Path | None
    as_json: bool

    def target_of(self, url: str | None, state: Path | None) -> "Target":
        """Return the gateway that a subcommand is for."""
        return target_of(url or self.url, state or self.state)


def examples(*lines: str) -> str:
    """Return the last part of a command's help; its line breaks are kept."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def run(coroutine: "Coroutine[Any, Any, T]") -> T:
    """Return the result of a coroutine."""
    import asyncio

    return asyncio.run(coroutine)


def target_of(url: str | None, state: Path | None) -> "Target":
    """Return the gateway that a command is for."""
    from gateway.cli.client.target import find_target

    return find_target(url, state, os.environ)
