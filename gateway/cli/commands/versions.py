"""Declares the commands about the versions of a microservice: names, options and help."""

from typing import Annotated

import typer

from gateway.cli.options import Json, State, Url, examples, run, target_of

Name = Annotated[str, typer.Argument(metavar="NAME", help="As `hecate ps` shows it.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the root command."""
    app.command(epilog=examples("hecate versions meter", "hecate versions meter --json"))(versions)
    app.command(epilog=examples("hecate rollback meter", "hecate rollback meter --to 3"))(rollback)


def versions(name: Name, url: Url = None, state: State = None, as_json: Json = False) -> None:
    """List the versions of a microservice.

    A version is an image and its variables; every deployment makes one. The last ones are kept.
    """
    from gateway.cli.services.versions import list_versions

    run(list_versions(target_of(url, state), name, as_json=as_json))


def rollback(
    name: Name,
    to: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="The version. [default: the one before]"),
    ] = None,
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Run a former version of a microservice again.

    It is on the gateway still, so nothing is sent. No message is lost; if it does not start, the
    version that runs now continues to run.
    """
    from gateway.cli.services.versions import roll_back

    run(roll_back(target_of(url, state), name, to, as_json=as_json))
