"""Lists sensors that advertise, accepts them, and mends what is wrong with them."""

import re
import sys
import time
from pathlib import Path
from typing import Any

from gateway.cli.client.records import rows_of
from gateway.cli.client.sidecar import SidecarClient
from gateway.cli.client.target import Target
from gateway.cli.devices.registry import DEVICES, SENSORS, find_device
from gateway.cli.devices.rows import SENSOR_COLUMNS, SENSOR_OPTIONAL, sensor_row
from gateway.cli.errors import CliError
from gateway.cli.output import console, notes, print_json, print_table
from gateway.cli.view.words import printable

NO_SENSORS = (
    "no sensors heard in the last hour; the gateway listens with [bluetooth] enabled = true"
)
KEY_LIMIT_BYTES = 4096

_ADDRESS = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")


def is_address(text: str) -> bool:
    """Return whether a text is the address of a sensor, and not a board's code or id."""
    return _ADDRESS.fullmatch(text) is not None


async def list_sensors(target: Target, *, as_json: bool) -> None:
    """Show the sensors that nobody has accepted."""
    async with SidecarClient(target) as sidecar:
        answer = await sidecar.call("list sensors", "GET", SENSORS)
    if as_json:
        print_json(answer)
        return
    sensors, now = rows_of(answer), time.time()
    sensors.sort(key=lambda sensor: -float(sensor.get("rssi") or -127))
    rows = [sensor_row(sensor, now) for sensor in sensors]
    print_table(SENSOR_COLUMNS, rows, NO_SENSORS, SENSOR_OPTIONAL)
    if sensors:
        notes().print(
            "`hecate devices approve ADDRESS --name NAME` makes one a device; anybody can send "
            "under the address of one that does not encrypt",
            style="dim",
        )


async def approve_sensor(
    target: Target, address: str, name: str, key_file: Path | None, *, as_json: bool
) -> None:
    """Accept a sensor as a device."""
    body: dict[str, Any] = {"name": name} if name else {}
    async with SidecarClient(target) as sidecar:
        heard = rows_of(await sidecar.call("list sensors", "GET", SENSORS))
        needs_key = any(s.get("encrypted") for s in heard if s["address"] == address.upper())
        if needs_key or key_file is not None:
            body["key"] = read_key(key_file, address)
        what = f"approve {address}"
        device = await sidecar.call(what, "POST", f"{SENSORS}/{address}/approve", json=body)
    if as_json:
        print_json(device)
    else:
        named = printable(str(device["name"]))
        console().print(f"approved {named} as {device['id']}", soft_wrap=True)


async def change_key(target: Target, text: str, key_file: Path | None) -> None:
    """Change the bind key of a sensor."""
    async with SidecarClient(target) as sidecar:
        device = await find_device(sidecar, text, "change key of")
        device_id, what = device["id"], f"change key of {device['id']}"
        if not device.get("sensor"):
            raise CliError(f"cannot {what}: it is not a sensor that advertises")
        key = read_key(key_file, str(device["name"]))
        await sidecar.call(what, "PUT", f"{DEVICES}/{device_id}/key", json={"key": key})
    console().print(f"bind key of {printable(str(device['name']))} changed", soft_wrap=True)


async def resume_sensor(target: Target, text: str) -> None:
    """Accept a sensor again whose counter went back."""
    async with SidecarClient(target) as sidecar:
        device = await find_device(sidecar, text, "resume")
        device_id = device["id"]
        await sidecar.call(f"resume {device_id}", "POST", f"{DEVICES}/{device_id}/resume")
    console().print(f"{printable(str(device['name']))} is accepted again", soft_wrap=True)


def read_key(file: Path | None, of: str) -> str:
    """Return the bind key from a file, standard input, or a person."""
    if file is None:
        return _ask_key(of)
    try:
        if str(file) == "-":
            return sys.stdin.read(KEY_LIMIT_BYTES).strip()
        with file.open(encoding="utf-8") as opened:
            return opened.read(KEY_LIMIT_BYTES).strip()
    except (OSError, UnicodeDecodeError) as exc:
        why = getattr(exc, "strerror", None) or "not UTF-8"
        raise CliError(f"cannot read {file}: {why.lower()}") from exc


def _ask_key(of: str) -> str:
    import typer

    if not sys.stdin.isatty():
        raise CliError(f"cannot read the bind key of {of}: give --key-file FILE, or - for stdin")
    key: str = typer.prompt(f"bind key of {printable(of)}", hide_input=True, err=True)
    return key.strip()
