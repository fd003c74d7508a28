"""Declares the commands about sensors that advertise: sensors, key, resume."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import Given, Json, State, Url, examples, run

KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        metavar="FILE",
        help="Holds the bind key of a sensor that encrypts; - is standard input. "
        "[default: a question]",
        show_default=False,
    ),
]
Sensor = Annotated[str, typer.Argument(help="The device's id, or its name.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands to `hecate devices`."""
    for name, command, lines in (
        ("sensors", devices_sensors, ("hecate devices sensors",)),
        (
            "key",
            devices_key,
            ("hecate devices key attic", "hecate devices key attic --key-file attic.key"),
        ),
        ("resume", devices_resume, ("hecate devices resume attic",)),
    ):
        app.command(name, epilog=examples(*lines))(command)


def devices_sensors(
    context: typer.Context, url: Url = None, state: State = None, as_json: Json = False
) -> None:
    """List the sensors that advertise nearby and that nobody has accepted."""
    from gateway.cli.devices.sensors import list_sensors

    before: Given = context.obj
    run(list_sensors(before.target_of(url, state), as_json=as_json or before.as_json))


def devices_key(
    context: typer.Context,
    device: Sensor,
    key_file: KeyFile = None,
    url: Url = None,
    state: State = None,
) -> None:
    """Change the bind key of an encrypted sensor.

    A key is never an argument, because other users of the machine see those. No command shows it.
    """
    from gateway.cli.devices.sensors import change_key

    before: Given = context.obj
    run(change_key(before.target_of(url, state), device, key_file))


def devices_resume(
    context: typer.Context, device: Sensor, url: Url = None, state: State = None
) -> None:
    """Accept an encrypted sensor again after its counter went back.

    A change of the battery is a good reason. Without a reason that you know, somebody may be
    repeating old frames of the sensor.
    """
    from gateway.cli.devices.sensors import resume_sensor

    before: Given = context.obj
    run(resume_sensor(before.target_of(url, state), device))
