"""Declares the commands about dead letters: their names, options and help."""

from typing import Annotated

import typer

from gateway.cli.errors import OptionError
from gateway.cli.options import Json, State, Url, examples, run, target_of

Name = Annotated[str, typer.Argument(metavar="NAME", help="As `hecate ps` shows it.")]
Numbers = Annotated[
    list[str] | None, typer.Argument(metavar="[ID...]", help="As `deadletters list` shows them.")
]
Every = Annotated[bool, typer.Option("--all", help="All of them.")]

deadletters_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""List, retry or discard messages that a microservice could not handle.

    A message whose handler fails is tried again, as [retry] of microservice.toml says. After the
    last try it is kept here with the error, and acknowledged, so that it does not block later ones.
    """,
)


@deadletters_app.callback()
def deadletters() -> None:
    """List, retry or discard messages that a microservice could not handle."""


@deadletters_app.command(
    "list",
    epilog=examples("hecate deadletters list meter", "hecate deadletters list meter --json"),
)
def list_command(name: Name, url: Url = None, state: State = None, as_json: Json = False) -> None:
    """List the dead letters of a microservice, the newest first."""
    from gateway.cli.services.deadletters import list_letters

    run(list_letters(target_of(url, state), name, as_json=as_json))


@deadletters_app.command("show", epilog=examples("hecate deadletters show meter 7 > payload"))
def show_command(
    name: Name,
    number: Annotated[str, typer.Argument(metavar="ID", help="As `deadletters list` shows it.")],
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Show a dead letter.

    Prints its payload on standard output, unchanged in a pipe and as text in a terminal, and its
    error on standard error.
    """
    from gateway.cli.services.deadletters import show_letter

    run(show_letter(target_of(url, state), name, number, as_json=as_json))


@deadletters_app.command(
    "retry",
    epilog=examples("hecate deadletters retry meter 7 8", "hecate deadletters retry meter --all"),
)
def retry_command(  # options
    name: Name,
    numbers: Numbers = None,
    every: Every = False,
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Give dead letters to the microservice again. One that fails once more comes back."""
    from gateway.cli.services.deadletters import retry_letters

    chosen = _chosen("retry", numbers, every)
    run(retry_letters(target_of(url, state), name, chosen, every=every, as_json=as_json))


@deadletters_app.command(
    "discard",
    epilog=examples("hecate deadletters discard meter 7", "hecate deadletters discard meter --all"),
)
def discard_command(  # options
    name: Name,
    numbers: Numbers = None,
    every: Every = False,
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Remove dead letters for good."""
    from gateway.cli.services.deadletters import discard_letters

    chosen = _chosen("discard", numbers, every)
    run(discard_letters(target_of(url, state), name, chosen, every=every, as_json=as_json))


def _chosen(verb: str, numbers: list[str] | None, every: bool) -> list[str]:
    if bool(numbers) == every:
        raise OptionError(f"cannot {verb} dead letters: give the ID of some, or --all")
    for number in numbers or ():
        if not number.isdecimal():
            raise OptionError(f"cannot {verb} dead letter {number!r}: an ID is a number")
    return numbers or []
