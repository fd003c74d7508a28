"""Declares the commands about boards at serial ports: flash, provision, shell."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.options import Given, State, Url, examples, run

if TYPE_CHECKING:
    from hardware.boards.settings import WifiSettings

WIFI_PASSWORD = "HECATE_WIFI_PASSWORD"  # noqa: S105  # the name of a variable

Port = Annotated[
    str,
    typer.Option(
        "--port", "-p", metavar="PORT", help="The serial port. [default: the only one there is]"
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to `hecate devices`."""
    for name, command, lines in (
        (
            "flash",
            devices_flash,
            (
                "hecate devices flash ESP32_GENERIC-20251209-v1.27.0.bin",
                "hecate devices flash firmware.bin --port /dev/ttyUSB0 --erase --yes",
            ),
        ),
        (
            "provision",
            devices_provision,
            (
                "hecate devices provision --name attic --wifi home",
                "hecate devices provision --name attic --wifi home --main my_sensor.py",
                "hecate devices provision --name cellar --link serial --port /dev/ttyUSB0",
            ),
        ),
        ("shell", devices_shell, ("hecate devices shell --port /dev/ttyUSB0",)),
    ):
        app.command(name, epilog=examples(*lines))(command)


def devices_flash(
    image: Annotated[Path, typer.Argument(help="The firmware, a .bin file.", show_default=False)],
    port: Port = "",
    erase: Annotated[bool, typer.Option("--erase", help="Erase all of the flash first.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    baud: Annotated[int, typer.Option(metavar="N", min=9600, help="Speed.")] = 460_800,
) -> None:
    """Write firmware to an ESP32 board, and verify it.

    Reads the board's identity before it asks for confirmation, and again immediately before it
    writes the first byte.
    """
    from gateway.cli.devices.flash import flash_board

    def confirm(question: str) -> bool:
        if yes:
            return True
        if not sys.stdin.isatty():
            return False
        return typer.confirm(question, err=True)

    run(flash_board(image, port, baud, confirm, erase=erase))


def devices_provision(  # noqa: PLR0913  # each is an option
    context: typer.Context,
    name: Annotated[str, typer.Option(metavar="NAME", help="The device's name.")],
    port: Port = "",
    wifi: Annotated[
        str, typer.Option(metavar="SSID", help="The wireless network of the board.")
    ] = "",
    wifi_password_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=f"Holds its password. [default: {WIFI_PASSWORD}, or a question]",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="The gateway's address. [default: its own]")
    ] = "",
    mqtt_port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="Its MQTT port. [default: its own]")
    ] = 0,
    ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Use TLS, and trust this authority.", show_default=False),
    ] = None,
    main: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Your program, main.py on the board. [default: the one that is there]",
            show_default=False,
        ),
    ] = None,
    link: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="serial or ble: no network; the board needs no address of the gateway.",
        ),
    ] = "",
    line: Annotated[
        str,
        typer.Option(metavar="LINE", help="Its serial line, as uart1:4,5. [default: this port]"),
    ] = "",
    rejoin: Annotated[
        bool, typer.Option("--rejoin", help="Forget the credentials that the board has.")
    ] = False,
    wait: Annotated[bool, typer.Option(help="Wait until it is online.")] = True,
    url: Url = None,
    state: State = None,
) -> None:
    """Put the device package, settings and a claim token on a board that runs MicroPython.

    The claim token is for this board alone. A password is never an argument, because other users of
    the machine see those.
    """
    from gateway.cli.devices.provision import ProvisionOptions, provision_board

    if link not in ("", "wifi", "serial", "ble"):
        raise typer.BadParameter("must be wifi, serial or ble", param_hint="--link")
    link = "" if link == "wifi" else link
    before: Given = context.obj
    network = _network(wifi, wifi_password_file) if wifi else None
    options = ProvisionOptions(
        port, name, host, mqtt_port, network, ca, main, rejoin, wait, link, line
    )
    run(provision_board(before.target_of(url, state), options))


def devices_shell(port: Port = "") -> None:
    """Open the REPL of a board; Ctrl-X leaves it."""
    from gateway.cli.devices.shell import open_shell

    open_shell(port)


def _network(ssid: str, password_file: Path | None) -> "WifiSettings":
    from gateway.cli.errors import CliError
    from hardware.boards.settings import WifiSettings
    from settings.secret import Secret

    password = os.environ.get(WIFI_PASSWORD)
    if password_file is not None:
        try:
            password = password_file.read_text(encoding="utf-8").removesuffix("\n")
        except (OSError, UnicodeDecodeError) as exc:
            why = getattr(exc, "strerror", None) or "not UTF-8"
            raise CliError(f"cannot read {password_file}: {why.lower()}") from exc
    if password is None:
        password = typer.prompt(
            f"password of {ssid}", hide_input=True, default="", show_default=False, err=True
        )
    return WifiSettings(ssid, Secret(password))
