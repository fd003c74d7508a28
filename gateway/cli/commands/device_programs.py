"""Declares `hecate devices run`."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.options import Given, State, Url, examples, run


def register(app: typer.Typer) -> None:
    """Add the command to `hecate devices`."""
    lines = ("hecate devices run main.py", "hecate devices run main.py display.py --heap 128K")
    app.command("run", epilog=examples(*lines))(devices_run)


def devices_run(  # noqa: PLR0913  # one for each option
    context: typer.Context,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="The program, and modules that it imports."),
    ],
    flash: Annotated[
        Path | None,
        typer.Option(
            help="The folder that is the board's flash. [default: FILE without .py]",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Further settings, as in the board's config.json.")
    ] = None,
    name: Annotated[str, typer.Option(help="The name that it joins with.")] = "",
    host: Annotated[str, typer.Option(help="The gateway's MQTT.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Its port.")] = 1883,
    heap: Annotated[
        str, typer.Option(metavar="SIZE", help="Memory; about 1.5 times that of a board.")
    ] = "512K",
    url: Url = None,
    state: State = None,
) -> None:
    """Run a device program without a board.

    The MicroPython interpreter of this machine runs it with the device package. As on a board, a
    program that ends is restarted, and one that hangs is reset. The first run makes a claim token
    and joins; later runs use the same flash. Needs: pip install 'hecate-gateway[simulate]'.
    """
    from gateway.cli.client.device_program import DeviceProgram, read_settings, run_device_program

    before: Given = context.obj
    folder = flash or files[0].with_name(f"{files[0].stem}.flash")
    program = DeviceProgram(
        tuple(files), folder, (host, port), name or files[0].stem, heap, read_settings(config)
    )

    run(run_device_program(lambda: before.target_of(url, state), program))
