"""Declares the commands for microservices: their names, options and help."""

import os
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import Json, State, Url, examples, run, target_of

Name = Annotated[str, typer.Argument(metavar="NAME", help="As `hecate ps` shows it.")]
Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="As `hecate ps` shows them.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the root command."""
    app.command(epilog=examples("hecate init hello && hecate deploy hello"))(init)
    app.command(
        epilog=examples(
            "hecate ps", "hecate ps --security", "hecate ps --json | jq '.data[].state'"
        )
    )(ps)
    app.command(
        epilog=examples("hecate logs climate", "hecate logs -f climate", "hecate logs climate -n 5")
    )(logs)
    app.command(
        epilog=examples(
            "hecate invoke climate /rooms",
            "hecate invoke climate /echo --data 21 --header content-type:text/plain",
            "hecate invoke climate /rooms --json",
        )
    )(invoke)
    app.command(epilog=examples("hecate stop climate"))(stop)
    app.command(epilog=examples("hecate start climate"))(start)
    app.command(epilog=examples("hecate restart climate"))(restart)
    app.command(epilog=examples("hecate rm climate", "hecate rm climate climate-v1"))(rm)
    app.command(epilog=examples("hecate images", "hecate images --json"))(images)


def init(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder to write into; made if there is none.")
    ],
    as_json: Json = False,
) -> None:
    """Write a minimal microservice that runs.

    Writes microservice.toml, with its name and its rights, and service.py, its code.
    Files that are there stay as they are.
    """
    from gateway.cli.scaffold import init_folder

    init_folder(directory, as_json=as_json)


def ps(
    security: Annotated[
        bool, typer.Option("--security", help="Show the isolation of each, as a probe found it.")
    ] = False,
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """List the microservices.

    Shows the state of each and its time, how often its process crashed or was ended without an
    answer, the reason, and the time until the next try.
    """
    from gateway.cli.client.containers import list_containers
    from gateway.cli.client.security import list_security

    listed = list_security if security else list_containers
    run(listed(target_of(url, state), as_json=as_json))


def images(url: Url = None, state: State = None, as_json: Json = False) -> None:
    """List the images.

    An image is one version of a microservice's code. The newest three versions that no container
    uses are kept to go back to; older ones are removed when a new one is sent.
    """
    from gateway.cli.client.containers import list_images

    run(list_images(target_of(url, state), as_json=as_json))


def logs(
    name: Name,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print new lines as they come, until Ctrl-C.")
    ] = False,
    tail: Annotated[
        int, typer.Option("--tail", "-n", metavar="N", min=0, max=10_000, help="Last lines.")
    ] = 200,
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Print the output of a microservice.

    Each line begins with its time in UTC. With --json each line is an object of its own.
    """
    from gateway.cli.client.container_calls import show_logs

    target = target_of(url, state)
    try:
        run(show_logs(target, name, tail, follow=follow, as_json=as_json))
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    except BrokenPipeError:  # `hecate logs … | head`: the reader is gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise typer.Exit(0) from None


def invoke(  # noqa: PLR0913  # options
    name: Name,
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="Below the microservice's base.")
    ] = "/",
    method: Annotated[
        str | None,
        typer.Option("--method", "-X", help="[default: GET, or POST with --data]"),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", "-d", help="The body: a text, @FILE, or @- for input.")
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option("--header", "-H", metavar="NAME:VALUE", help="May be given several times."),
    ] = None,
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Call a microservice over HTTP.

    Prints the body of the answer; with --json status, headers and body. Exit code 1 when the
    status is 400 or more.
    """
    from gateway.cli.client.container_calls import Call, parse_headers, read_body
    from gateway.cli.client.container_calls import invoke as call_microservice

    body = read_body(data)
    word = (method or ("POST" if data is not None else "GET")).upper()
    call = Call(word, path, body, parse_headers(header or []))
    raise typer.Exit(run(call_microservice(target_of(url, state), name, call, as_json=as_json)))


def stop(names: Names, url: Url = None, state: State = None, as_json: Json = False) -> None:
    """Stop microservices.

    They stay stopped, also when the gateway starts again, until `hecate start` or
    `hecate deploy`. Messages for them wait at the broker, as far as it keeps them.
    """
    _change(names, "stopped", url, state, as_json)


def start(names: Names, url: Url = None, state: State = None, as_json: Json = False) -> None:
    """Start microservices that are stopped, or wait to be tried again."""
    _change(names, "started", url, state, as_json)


def restart(names: Names, url: Url = None, state: State = None, as_json: Json = False) -> None:
    """Start microservices anew.

    A new process takes over from the one that runs, so that no message is lost. A process that
    does not answer is ended.
    """
    _change(names, "restarted", url, state, as_json)


def rm(names: Names, url: Url = None, state: State = None, as_json: Json = False) -> None:
    """Remove microservices, or images.

    Ends a microservice and deletes its files. A name that no microservice has is the name of an
    image; an image in use is not removed.
    """
    from gateway.cli.client.containers import remove

    run(remove(target_of(url, state), names, as_json=as_json))


def _change(
    names: list[str], wanted: str, url: str | None, state: Path | None, as_json: bool
) -> None:
    from gateway.cli.client.containers import change_state

    run(change_state(target_of(url, state), names, wanted, as_json=as_json))
