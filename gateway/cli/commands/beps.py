"""Declares the commands about BEPs: their names, options and help."""

from typing import Annotated

import typer

from gateway.cli.errors import OptionError
from gateway.cli.options import Given, Json, State, Url, examples, run, target_of

beps_app = typer.Typer(
    rich_markup_mode=None,
    help="List the tunnels (BEPs) to a gateway, or end them.",
    epilog=examples(
        "hecate beps", "hecate beps --json | jq -r '.data[].url'", "hecate beps end --all"
    ),
)


@beps_app.callback(invoke_without_command=True)
def beps(
    context: typer.Context, url: Url = None, state: State = None, as_json: Json = False
) -> None:
    """List the BEPs that count for a gateway, those that only the cloud knows included."""
    context.obj = Given(url, state, as_json)
    if context.invoked_subcommand is None:
        from gateway.cli.client.beps import list_beps

        run(list_beps(target_of(url, state), as_json=as_json))


@beps_app.command(
    "end",
    epilog=examples("hecate beps end Zk3v", "hecate beps end --all"),
)
def beps_end(
    context: typer.Context,
    bep_id: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="As `hecate beps` shows it, or its first characters."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="End all of them.")] = False,
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """End a BEP.

    Its visitors are cut at once, and its URL becomes invalid. A BEP ends by itself when it expires,
    when nobody has used it for 15 minutes, and when its gateway stops.
    """
    from gateway.cli.client.beps import end_beps

    if every == (bep_id is not None):
        raise OptionError("cannot end BEPs: give the ID of one, or --all")
    before: Given = context.obj
    target = before.target_of(url, state)
    run(end_beps(target, bep_id, as_json=as_json or before.as_json))
