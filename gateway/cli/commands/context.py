"""Declares the commands about contexts: their names, options and help."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.errors import OptionError
from gateway.cli.options import Json, examples

if TYPE_CHECKING:
    from gateway.cli.client.contexts import Context

COLUMNS = ("NAME", "URL", "API KEY", "IN USE")
Name = Annotated[str, typer.Argument(metavar="NAME", help="As `hecate context list` shows it.")]

context_app = typer.Typer(
    rich_markup_mode=None,
    help="""Choose the gateway that commands use.

    A context is a name for a gateway's URL and its API key. One of them can be in use; without
    one, commands use the gateway of this machine, which is the context `default`.

    \b
    The first of these that is given counts:
      --url and --state              with one command
      hecate --context NAME COMMAND  with one command
      HECATE_URL, HECATE_API_KEY     in the environment
      HECATE_CONTEXT=NAME            in the environment
      hecate context use NAME        until another is used

    Contexts are kept in ~/.config/hecate/contexts.json (below XDG_CONFIG_HOME, if it is set),
    which only you can read. No command prints a key.
    """,
    epilog=examples(
        "hecate context",
        "hecate context add barn --url http://192.0.2.7:8083 --key-file barn.key --use",
        "hecate --context barn status",
    ),
)


@context_app.callback(invoke_without_command=True)
def context(command: typer.Context, as_json: Json = False) -> None:
    """List the contexts."""
    if command.invoked_subcommand is None:
        show_contexts(as_json=as_json)
    elif as_json:
        command.obj = True


@context_app.command(
    "add",
    epilog=examples(
        "hecate context add here --url http://127.0.0.1:18083 --state /tmp/try --use",
        "ssh barn cat /var/lib/hecate/api-key | "
        "hecate context add barn --url http://barn:8083 --key-file -",
    ),
)
def add(  # noqa: PLR0913  # options
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name for the gateway.")],
    url: Annotated[str, typer.Option(help="The gateway's API, like http://192.0.2.7:8083.")],
    state: Annotated[
        Path | None, typer.Option(help="The gateway's state folder, where its API key is.")
    ] = None,
    key_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="File with its API key; - for stdin.")
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The authority of its https, if private.")
    ] = None,
    use: Annotated[bool, typer.Option("--use", help="Use it from now on.")] = False,
    as_json: Json = False,
) -> None:
    """Add a context.

    Its API key is read from a state folder on this machine at every use, or copied from a file.
    """
    from gateway.cli.client.contexts import Context, check_url, load_contexts, save_contexts
    from gateway.cli.client.target import read_key_file
    from settings.secret import Secret

    if state is not None and key_file is not None:
        raise OptionError(f"cannot add context {name!r}: give --state or --key-file, not both")
    key = read_key_file(key_file) if key_file is not None else Secret("")
    context = Context(name, check_url(url), _absolute(state), key, _absolute(ca_file))
    contexts = load_contexts(os.environ).with_added(context)
    save_contexts(contexts.with_current(name) if use else contexts, os.environ)
    _print_result(name, f"is added{' and in use' if use else ''}", as_json=as_json)


@context_app.command(
    "use", epilog=examples("hecate context use barn", "hecate context use default")
)
def use_context(name: Name, as_json: Json = False) -> None:
    """Use a context from now on.

    `default` is the gateway of this machine.
    """
    from gateway.cli.client.contexts import VARIABLE, load_contexts, save_contexts

    save_contexts(load_contexts(os.environ).with_current(name), os.environ)
    _print_result(name, "is in use", as_json=as_json)
    if os.environ.get(VARIABLE, name) != name:
        sys.stderr.write(f"{VARIABLE}={os.environ[VARIABLE]} of the environment goes before it\n")


@context_app.command("list", epilog=examples("hecate context list", "hecate context list --json"))
def list_contexts(command: typer.Context, as_json: Json = False) -> None:
    """List the contexts."""
    show_contexts(as_json=as_json or command.obj is True)


@context_app.command("rm", epilog=examples("hecate context rm barn"))
def remove(name: Name, as_json: Json = False) -> None:
    """Remove a context, and the key that is stored with it."""
    from gateway.cli.client.contexts import load_contexts, save_contexts

    save_contexts(load_contexts(os.environ).without(name), os.environ)
    _print_result(name, "is removed", as_json=as_json)


def show_contexts(*, as_json: bool) -> None:
    """Print all contexts, never a key."""
    from gateway.cli.client.contexts import (
        DEFAULT_NAME,
        DEFAULT_URL,
        Context,
        load_contexts,
        name_in_use,
    )
    from gateway.cli.output import print_json, print_table

    contexts = load_contexts(os.environ)
    current = name_in_use(contexts, os.environ)
    every = [Context(DEFAULT_NAME, DEFAULT_URL), *contexts.known]
    if as_json:
        print_json([_fields(each, current) for each in every])
        return
    rows = [
        (each.name, each.url, _whence(each), "yes" if each.name == current else "")
        for each in every
    ]
    print_table(COLUMNS, rows, "")


def _absolute(path: Path | None) -> Path | None:
    """Return an absolute path; symbolic links stay."""
    return path and Path(os.path.abspath(path.expanduser()))  # noqa: PTH100


def _print_result(name: str, what: str, *, as_json: bool) -> None:
    """Print the result, or the context in use."""
    from gateway.cli.client.contexts import load_contexts
    from gateway.cli.output import print_json

    if as_json:
        print_json({"name": name, "current": load_contexts(os.environ).current})
    else:
        print(f"context {name} {what}")  # noqa: T201


def _fields(context: "Context", current: str) -> dict[str, object]:
    return {
        "name": context.name,
        "url": context.url,
        "state": str(context.state) if context.state is not None else None,
        "has_key": bool(context.key),
        "ca_file": str(context.ca_file) if context.ca_file is not None else None,
        "current": context.name == current,
    }


def _whence(context: "Context") -> str:
    if context.key:
        return "kept"
    return f"in {context.state}" if context.state is not None else "in the default state folder"
