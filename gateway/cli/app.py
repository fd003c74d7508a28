"""Declares the root command `hecate` and its commands: names, options and help.

The code of a command is imported when it runs, so that `hecate --help` is there at once.
"""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from gateway.cli.broker import broker_app
from gateway.cli.commands import (
    boards,
    develop,
    device_programs,
    microservices,
    remote,
    sensors,
    versions,
)
from gateway.cli.commands.account import account_app
from gateway.cli.commands.beps import beps_app
from gateway.cli.commands.context import context_app
from gateway.cli.commands.deadletters import deadletters_app
from gateway.cli.commands.devices import devices_app
from gateway.cli.commands.images import images_app
from gateway.cli.commands.rollouts import rollouts_app
from gateway.cli.errors import OptionError
from gateway.cli.keys.app import keys_app
from gateway.cli.options import examples

app = typer.Typer(
    name="hecate",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="""An IoT gateway with its own MQTT broker, microservices, and the cloud that reaches it.

    \b
    Try it, no hardware needed:
      hecate up                   everything on this machine, with two simulated devices
      hecate devices claim        let a real device join

    \b
    Run code of your own on a gateway:
      hecate new hello            write a microservice that works at once
      hecate dev hello            run it, again after every save, with its log
      hecate deploy hello         run it for good
      hecate ps                   see what runs, and why something does not
      hecate logs -f hello        see what it prints

    \b
    Exit codes: 0 done, 1 "cannot X: why" on standard error, 2 wrong options.
    Environment: HECATE_CONTEXT names a gateway of `hecate context`, or HECATE_URL and
    HECATE_API_KEY name one; HECATE_CA_FILE holds the authorities for its https; NO_COLOR turns
    colours off.
    """,
)
config_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Look at configuration files."
)


class ConfigKind(StrEnum):
    """The program that a configuration file is for."""

    gateway = "gateway"
    cloud = "cloud"


def _print_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        print(f"hecate {version('hecate-gateway')}")  # noqa: T201
        raise typer.Exit


@app.callback()
def root(
    command: typer.Context,
    version: Annotated[  # noqa: ARG001  # its callback does all
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    context: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            envvar="HECATE_CONTEXT",
            help="The gateway to use, one of `hecate context`.",
        ),
    ] = None,
) -> None:
    """Options of the command itself."""
    if context is not None and _is_typed(command, "context"):
        for variable in ("HECATE_URL", "HECATE_API_KEY"):  # typed options win over them
            os.environ.pop(variable, None)
        os.environ["HECATE_CONTEXT"] = context


def _is_typed(command: typer.Context, name: str) -> bool:
    source = command.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _port(variable: str, text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        envvar=variable, help=text, metavar="PORT", callback=_check_port
    )
    return option


def _check_port(value: int | None) -> int | None:
    if value is not None and not 0 <= value <= 65535:
        raise typer.BadParameter(f"{value} is not from 0 to 65535")
    return value


@app.command(
    epilog=examples(
        "hecate up",
        "hecate up --devices 5 --state /tmp/try",
        "hecate up --mqtt-port 0 --api-port 0 --plain",
        "hecate up --nodes 3",
    )
)
def up(  # noqa: PLR0913  # options
    devices: Annotated[
        int,
        typer.Option("--devices", "-d", metavar="N", min=0, max=50, help="Simulated devices."),
    ] = 2,
    nodes: Annotated[
        int,
        typer.Option(
            "--nodes", "-n", metavar="N", min=1, max=20, help="Gateways; several are a cluster."
        ),
    ] = 1,
    state: Annotated[
        Path | None,
        typer.Option(
            readable=False,  # a later error explains the remedy
            help="Folder for all state. [default: ~/.local/state/hecate]",
            show_default=False,
        ),
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Lines when something changes; no live view.")
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="Show it once when ready, then end everything.")
    ] = False,
    mqtt_port: Annotated[int, _port("HECATE_GATEWAY_BROKER_PORT", "MQTT of the gateway.")] = 1883,
    api_port: Annotated[int, _port("HECATE_GATEWAY_SIDECAR_PORT", "API of the gateway.")] = 8083,
    cloud_port: Annotated[int, _port("HECATE_CLOUD_API_PORT", "API of the cloud.")] = 8080,
    cloud_mqtt_port: Annotated[int, _port("HECATE_CLOUD_MQTT_PORT", "MQTT of the cloud.")] = 1884,
    relay_port: Annotated[int, _port("HECATE_CLOUD_RELAY_PORT", "Relay of the cloud.")] = 8443,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --nodes: an object for each change.")
    ] = False,
) -> None:
    """Run everything on this machine.

    Starts the cloud, a gateway, simulated devices and an example microservice, prints URLs and
    commands to try, then shows what is happening until Ctrl-C. State is kept in one folder, so
    the next start continues where this one ended. Everything listens on 127.0.0.1 only, and any
    user of this machine may use MQTT without a password. Port 0 takes any free one.

    With --nodes 3 it starts the cloud and three gateways that form a cluster, all on free ports,
    without devices and example, and shows their roles. Kill the supernode by its process id, and
    another takes over; the key r starts it again.
    """
    from gateway.cli.client.target import find_state
    from gateway.cli.up.plan import Plan, PortNumbers, find_former_variables
    from gateway.cli.up.run import Show, run_up

    former = find_former_variables(os.environ)
    if former:
        raise OptionError(f"cannot use the environment: {'; '.join(former)}")
    if as_json and nodes == 1:
        raise OptionError("cannot print JSON: --json goes with --nodes; see `hecate status --json`")
    show = Show.ONCE if once else Show.PLAIN if plain else Show.AUTO
    if nodes > 1:
        from gateway.cli.up.nodes.run import run_nodes

        plan = Plan(find_state(state, os.environ), PortNumbers(0, 0, 0, 0, 0), 0)
        raise typer.Exit(run_nodes(plan, nodes, show, as_json=as_json))
    ports = PortNumbers(mqtt_port, api_port, cloud_port, cloud_mqtt_port, relay_port)
    raise typer.Exit(run_up(Plan(find_state(state, os.environ), ports, devices), show))


@app.command(
    epilog=examples(
        "hecate gateway --config /etc/hecate/gateway.toml",
        "HECATE_GATEWAY_BROKER_PORT=11883 hecate gateway",
    )
)
def gateway(
    config: Annotated[
        Path | None, typer.Option(help="TOML file; without one, defaults and environment.")
    ] = None,
) -> None:
    """Run the gateway alone.

    It is the MQTT broker, the sidecar API, microservices and the link to the cloud. Runs until
    Ctrl-C or SIGTERM and prints one line when it is ready. Any setting can also be given as
    HECATE_GATEWAY_<SECTION>_<KEY>.
    """
    _become(["-m", "gateway.cli.serve", *([str(config)] if config else [])])


@app.command(
    epilog=examples(
        "hecate cloud --config /etc/hecate/cloud.toml",
        "HECATE_CLOUD_MID_DEVELOPMENT=true hecate cloud --state /tmp/cloud",
    )
)
def cloud(
    config: Annotated[Path | None, typer.Option(help="TOML file of the cloud.")] = None,
    state: Annotated[Path | None, typer.Option(help="Folder for its state.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, _port("HECATE_CLOUD_API_PORT", "API.")] = None,
    mqtt_port: Annotated[int | None, _port("HECATE_CLOUD_MQTT_PORT", "MQTT.")] = None,
    relay_port: Annotated[int | None, _port("HECATE_CLOUD_RELAY_PORT", "Relay.")] = None,
) -> None:
    """Run the cloud alone.

    It is discovery, signalling, tokens, identity and the relay. Runs until Ctrl-C or SIGTERM and
    prints one line when it is ready. Options that are not given come from the file.
    """
    given = {
        "--config": config,
        "--state": state,
        "--host": host,
        "--port": port,
        "--mqtt-port": mqtt_port,
        "--relay-port": relay_port,
    }
    options = [word for k, v in given.items() if v is not None for word in (k, str(v))]
    _become(["-m", "cloud", *options])


@config_app.command(
    "check",
    epilog=examples(
        "hecate config check /etc/hecate/gateway.toml",
        "hecate config check cloud.toml --kind cloud",
    ),
)
def config_check(
    file: Annotated[Path, typer.Argument(help="The TOML file.")],
    kind: Annotated[
        ConfigKind, typer.Option(help="The program that it configures.")
    ] = ConfigKind.gateway,
) -> None:
    """Check a configuration file.

    Starts nothing. Reports unknown keys, wrong types and values out of range with file, section
    and key. HECATE_GATEWAY_… and HECATE_CLOUD_… variables count, as they do at a start.
    """
    from gateway.cli.check import check_config

    print(check_config(file, kind.value))  # noqa: T201


app.add_typer(broker_app, name="broker")
remote.register(app)
device_programs.register(devices_app)
boards.register(devices_app)
sensors.register(devices_app)
app.add_typer(devices_app, name="devices")
develop.register(app)
microservices.register(app)
versions.register(app)
app.add_typer(rollouts_app, name="rollouts")
app.add_typer(deadletters_app, name="deadletters")
app.add_typer(images_app, name="images")
app.add_typer(account_app, name="account")
app.add_typer(beps_app, name="beps")
app.add_typer(context_app, name="context")
app.add_typer(config_app, name="config")
app.add_typer(keys_app, name="keys")


def _become(arguments: list[str]) -> NoReturn:
    """Replace this process, so that the process that a person or systemd started is the server."""
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606
