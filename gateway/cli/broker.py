"""Defines `hecate broker`, its `check` and its `passwd`: names, options and help."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.errors import CliError, OptionError
from gateway.cli.options import Json, examples

broker_app = typer.Typer(
    rich_markup_mode=None,
    help="""Run the MQTT broker alone.

    It stays in the foreground, prints one line with its addresses when it is ready, and ends on
    Ctrl-C or SIGTERM. Port 0 takes any free one. Users, rights, TLS and limits are in a
    configuration file: TOML, or the common part of a mosquitto.conf; docs/broker.md explains them.
    On SIGHUP it reads users, rights and certificates again. Sessions and retained messages are in
    memory unless --data or the configuration names a folder for them.
    HECATE_BROKER_<SECTION>_<KEY> overrides a setting of a TOML file. With HECATE_LOG_LEVEL=INFO the
    log has each connection and each refusal with its reason; topics below $SYS/broker and --metrics
    have the figures.
    """,
    epilog=examples(
        "hecate broker --anonymous",
        "hecate broker --anonymous --listen 127.0.0.1:0 --listen [::1]:1883",
        "hecate broker --anonymous --data /var/lib/hecate-broker",
        "HECATE_LOG_LEVEL=INFO hecate broker --anonymous --metrics 127.0.0.1:9234",
        "hecate broker --config /etc/hecate/broker.toml",
        "hecate broker --config /etc/mosquitto/mosquitto.conf --check",
        "hecate broker check /var/lib/hecate-broker",
    ),
)


class Durability(StrEnum):
    """The moment when a message counts as stored."""

    synced = "synced"
    os = "os"
    memory = "memory"


@broker_app.callback(invoke_without_command=True)
def broker(  # noqa: PLR0913  # options
    context: typer.Context,
    listen: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST:PORT",
            help="The address to listen on; may be given several times. [default: 127.0.0.1:1883]",
        ),
    ] = None,
    anonymous: Annotated[
        bool, typer.Option("--anonymous", help="Let anyone on this machine connect.")
    ] = False,
    open_to_network: Annotated[
        bool,
        typer.Option(
            "--open-to-network", help="With --anonymous or --metrics: anyone on the network, too."
        ),
    ] = False,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="The address of /metrics for Prometheus, and of /healthz."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML (named .toml) or mosquitto.conf.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Keep sessions, their messages and retained ones in this folder."
        ),
    ] = None,
    durability: Annotated[
        Durability | None,
        typer.Option(
            help="Acknowledged messages survive a power cut (synced), the death of the process "
            "(os), or nothing (memory). [default: synced]",
            show_default=False,
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only check the configuration; start nothing.")
    ] = False,
) -> None:
    """Run the broker."""
    from broker.standalone.conf.settings import Anonymous
    from broker.standalone.options import open_to, show_metrics, store_in
    from broker.standalone.serve import read_config, run_broker

    stored = data or durability
    given = listen or anonymous or open_to_network or metrics or config or stored or check
    if context.invoked_subcommand is not None:
        if given:
            raise OptionError("cannot use these options: they go without a subcommand")
        return
    if config is not None and (listen or anonymous):
        raise OptionError("cannot use --listen or --anonymous: with --config, the file decides")
    if open_to_network and not anonymous and metrics is None:
        raise OptionError("cannot use --open-to-network: it goes with --anonymous or --metrics")
    reach = Anonymous.NETWORK if open_to_network else Anonymous.LOOPBACK
    with _as_cli_errors():
        if config is not None:
            settings = read_config(config, os.environ)
        else:
            settings = open_to(listen or [], reach if anonymous else Anonymous.NO, os.environ)
        if metrics is not None:
            settings = show_metrics(settings, metrics, to_network=open_to_network)
        settings = store_in(settings, data, durability.value if durability is not None else None)
        run_broker(settings, config, only_check=check)


@broker_app.command(
    "check",
    epilog=examples(
        "hecate broker check /var/lib/hecate-broker",
        "hecate broker check --json data | jq .damages",
    ),
)
def check_folder(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of --data.")],
    as_json: Json = False,
) -> None:
    """Print the contents of a data folder, and its damages.

    Starts no broker and changes nothing. Exit code 1: something is damaged or missing. A broker
    starts nevertheless, with the rest, and logs the same at WARNING.
    """
    from gateway.cli.journal_check import check_data

    raise typer.Exit(check_data(directory, as_json=as_json))


@broker_app.command(
    "passwd",
    epilog=examples(
        "hecate broker passwd users anna",
        "hecate broker passwd users boiler --generate",
        "hecate broker passwd users pump --generate --scram",
        'printf %s "$SECRET" | hecate broker passwd users ben --stdin',
        "hecate broker passwd users ben --delete",
    ),
)
def passwd(
    file: Annotated[Path, typer.Argument(help="Password file; made if there is none.")],
    user: Annotated[str, typer.Argument(help="Name of the user.")],
    stdin: Annotated[
        bool, typer.Option("--stdin", help="Read the password from standard input.")
    ] = False,
    generate: Annotated[
        bool, typer.Option("--generate", help="Make a password for a device and print it.")
    ] = False,
    delete: Annotated[bool, typer.Option("--delete", help="Remove the user.")] = False,
    scram: Annotated[
        bool, typer.Option("--scram", help="Store keys for SCRAM-SHA-256; plain login works, too.")
    ] = False,
) -> None:
    """Set a user's password.

    Asks for the password at the terminal. The file keeps a hash of it and is readable by its
    owner only. A running broker reads the file again on SIGHUP.
    """
    from broker.standalone.passwd import change_password

    if stdin + generate + delete > 1:
        raise OptionError("cannot use --stdin, --generate and --delete together: choose one")
    if scram and delete:
        raise OptionError("cannot use --scram and --delete together")
    with _as_cli_errors():
        change_password(file, user, stdin=stdin, generate=generate, delete=delete, scram=scram)


@contextmanager
def _as_cli_errors() -> Iterator[None]:
    """Raise the errors of the broker as those of the command line."""
    from broker.standalone.errors import CommandError
    from broker.wire.errors import BrokerError

    try:
        yield
    except CommandError as exc:
        raise OptionError(str(exc)) from exc
    except BrokerError as exc:
        raise CliError(str(exc)) from exc
