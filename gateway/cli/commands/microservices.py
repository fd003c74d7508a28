"""Declares the commands for microservices: their names, options and help."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.errors import OptionError
from gateway.cli.options import Json, State, Url, examples, run, target_of


class LogLevel(StrEnum):
    """The levels of log entries."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


Name = Annotated[str, typer.Argument(metavar="NAME", help="As `hecate ps` shows it.")]
Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="As `hecate ps` shows them.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the root command."""
    app.command(
        epilog=examples(
            "hecate ps", "hecate ps --security", "hecate ps --json | jq '.data[].state'"
        )
    )(ps)
    app.command(
        epilog=examples(
            "hecate logs climate",
            "hecate logs -f climate",
            "hecate logs climate --since 10m --level warning",
        )
    )(logs)
    app.command(
        epilog=examples(
            "hecate invoke climate /rooms",
            "hecate invoke climate /echo --data 21 --header content-type:text/plain",
            "hecate invoke climate /rooms --json",
            "hecate invoke climate --mqtt devices/k1/readings/temperature 21",
        )
    )(invoke)
    app.command(epilog=examples("hecate stop climate"))(stop)
    app.command(epilog=examples("hecate start climate"))(start)
    app.command(epilog=examples("hecate restart climate"))(restart)
    app.command(epilog=examples("hecate rm climate", "hecate rm climate climate-v1"))(rm)


def ps(
    security: Annotated[
        bool,
        typer.Option(
            "--security", help="Show the isolation of each, as a probe inside has found it."
        ),
    ] = False,
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """List the microservices.

    Shows the state of each and its time, how often its process crashed or was ended without an
    answer, the reason and the next try. In a terminal, empty columns are left out.
    """
    from gateway.cli.services.containers import list_containers
    from gateway.cli.services.security import list_security

    listed = list_security if security else list_containers
    run(listed(target_of(url, state), as_json=as_json))


def logs(  # noqa: PLR0913  # options
    name: Name,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print new lines as they come, until Ctrl-C.")
    ] = False,
    tail: Annotated[
        int | None,
        typer.Option(
            "--tail",
            "-n",
            metavar="N",
            min=0,
            max=10_000,
            help="The number of last lines. [default: 200; all with --since or --level]",
            show_default=False,
        ),
    ] = None,
    since: Annotated[
        str, typer.Option(metavar="TIME", help="30s, 10m, 2h, 1d ago, or 2026-01-31T12:00.")
    ] = "",
    level: Annotated[LogLevel, typer.Option(help="The lowest level to print.")] = LogLevel.debug,
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Print the output of a microservice.

    Each line begins with its time: local in a terminal, UTC in a pipe. Entries of `service.log`
    show level, message and fields. With --json each line is an object of its own.
    """
    from gateway.cli.services.logs import LogOptions, show_logs

    target = target_of(url, state)
    options = LogOptions(tail, since, level.value, follow, as_json)
    try:
        run(show_logs(target, name, options))
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
    mqtt: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="TOPIC PAYLOAD",
            help="Publish a message instead, and wait until it is handled; "
            "the payload may be @FILE or @-.",
        ),
    ] = None,
    url: Url = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Call a microservice over HTTP, or send it a message.

    Prints the body of the answer; with --json status, headers and body. Exit code 1 when the
    status is 400 or more, or when a message is not handled.
    """
    from gateway.cli.services.container_calls import Call, parse_headers, read_body
    from gateway.cli.services.container_calls import invoke as call_microservice

    if mqtt is not None:
        from gateway.cli.services.publish import Outgoing, invoke_by_mqtt

        if path != "/" or method or data is not None or header:
            raise OptionError("cannot invoke: --mqtt goes with no path and no option of HTTP")
        message = Outgoing(mqtt[0], read_body(mqtt[1]))
        raise typer.Exit(run(invoke_by_mqtt(target_of(url, state), name, message, as_json=as_json)))
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
    """Start microservices.

    Starts microservices that are stopped, or that wait for their next try.
    """
    _change(names, "started", url, state, as_json)


def restart(names: Names, url: Url = None, state: State = None, as_json: Json = False) -> None:
    """Restart microservices.

    A new process takes over from the one that runs, so that no message is lost. A process that
    does not answer is ended.
    """
    _change(names, "restarted", url, state, as_json)


def rm(names: Names, url: Url = None, state: State = None, as_json: Json = False) -> None:
    """Remove microservices, or images.

    Ends a microservice and deletes its files. A name that no microservice has is the name of an
    image; an image in use is not removed.
    """
    from gateway.cli.services.containers import remove

    run(remove(target_of(url, state), names, as_json=as_json))


def _change(
    names: list[str], wanted: str, url: str | None, state: Path | None, as_json: bool
) -> None:
    from gateway.cli.services.containers import change_state

    run(change_state(target_of(url, state), names, wanted, as_json=as_json))
