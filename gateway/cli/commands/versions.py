"""Declares the commands about versions and settings of a microservice: names, options and help."""

from typing import Annotated

import typer

from gateway.cli.errors import OptionError
from gateway.cli.options import Json, State, Url, examples, run, target_of

Name = Annotated[str, typer.Argument(metavar="NAME", help="As `hecate ps` shows it.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the root command."""
    app.command(epilog=examples("hecate versions meter", "hecate versions meter --json"))(versions)
    app.command(epilog=examples("hecate rollback meter", "hecate rollback meter --to 3"))(rollback)
    app.command(
        epilog=examples(
            "hecate settings meter",
            "hecate settings meter limit=30 unit=celsius",
            "hecate settings meter --unset limit --secret token=@token.txt",
        )
    )(settings)


def settings(  # noqa: PLR0913  # options
    name: Name,
    values: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SETTING=VALUE...]", help="New values; without any, show them."),
    ] = None,
    unset: Annotated[
        list[str] | None,
        typer.Option(metavar="SETTING", help="Use its default again; several times."),
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=@FILE", help="A secret from a file, or NAME=- from input."),
    ] = None,
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Show the settings of a microservice, or change some.

    [settings.NAME] of its microservice.toml declares them, with their types. A running microservice
    applies them at once; a new secret starts a new process. No command prints a secret.
    """
    from gateway.cli.services.settings import ValueChanges, change_settings, show_settings
    from gateway.cli.services.values import parse_secrets, parse_settings

    if not (values or unset or secret):
        run(show_settings(target_of(url, state), name, as_json=as_json))
        return
    given = parse_settings(values or [])
    both = sorted(given.keys() & set(unset or ()))
    if both:
        raise OptionError(f"cannot change settings: {both[0]} has a value and --unset")
    changed = {**given, **dict.fromkeys(unset or (), None)}
    changes = ValueChanges(changed, parse_secrets(secret or []))
    run(change_settings(target_of(url, state), name, changes, as_json=as_json))


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

    The gateway still has that version, so nothing is sent. No message is lost. If it does not
    start, the version that runs now continues to run.
    """
    from gateway.cli.services.versions import roll_back

    run(roll_back(target_of(url, state), name, to, as_json=as_json))
