"""Lists, shows and changes devices."""

import asyncio
import contextlib
import time
from typing import Any

from gateway.cli.client.records import rows_of
from gateway.cli.client.sidecar import SidecarClient
from gateway.cli.client.target import Target
from gateway.cli.devices.rows import (
    BOARD_COLUMNS,
    BOARD_OPTIONAL,
    DEVICE_COLUMNS,
    DEVICE_OPTIONAL,
    board_row,
    changes,
    device_lines,
    device_row,
)
from gateway.cli.errors import CliError
from gateway.cli.output import console, notes, print_json, print_table
from gateway.cli.view.words import plural, printable
from protocol.ids import DEVICE_ID

DEVICES, PENDING = "/devices/v1/devices", "/devices/v1/pending"
SENSORS = "/devices/v1/sensors"
WATCH_S = 1.0
ROTATE_WAIT_S, POLL_S = 30.0, 0.25
NO_DEVICES = (
    "no devices yet; `hecate devices claim` makes a token with which one joins, "
    "`hecate devices provision` sets a board up"
)


async def list_devices(target: Target, *, as_json: bool, watch: bool) -> None:
    """Show the devices, and the boards that wait for approval."""
    async with SidecarClient(target) as sidecar:
        devices, boards = await read_lists(sidecar)
        if as_json:
            print_json({"data": devices, "pending": boards})
        else:
            _print_lists(devices, boards)
            await _tell_sensors(sidecar)
        while watch:
            await asyncio.sleep(WATCH_S)
            before = devices + boards
            devices, boards = await read_lists(sidecar)
            for key, name, state in changes(before, devices + boards):
                if as_json:
                    print_json({"id": key, "name": name, "state": state})
                else:
                    line = f"{time.strftime('%H:%M:%S')}  {key}  {printable(name)}  {state}"
                    console().print(line, soft_wrap=True)


async def read_lists(sidecar: SidecarClient) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the devices, and the boards that wait."""
    devices = rows_of(await sidecar.call("list devices", "GET", DEVICES))
    return devices, rows_of(await sidecar.call("list devices", "GET", PENDING))


def _print_lists(devices: list[dict[str, Any]], boards: list[dict[str, Any]]) -> None:
    now = time.time()
    if devices or not boards:
        rows = [device_row(row, now) for row in devices]
        print_table(DEVICE_COLUMNS, rows, NO_DEVICES, DEVICE_OPTIONAL)
    if not boards:
        return
    if devices:
        console().print()
    print_table(BOARD_COLUMNS, [board_row(b, now) for b in boards], "", BOARD_OPTIONAL)
    if any(board.get("state") == "pending" for board in boards):
        notes().print(
            "`hecate devices approve CODE` lets a board join: compare the code with the one that "
            "the board shows",
            style="dim",
        )


async def _tell_sensors(sidecar: SidecarClient) -> None:
    """Tell how many sensors wait for their owner; a gateway may be too old to know any."""
    with contextlib.suppress(CliError):
        heard = len(rows_of(await sidecar.call("list sensors", "GET", SENSORS)))
        if heard:
            more = plural(heard, "sensor")
            notes().print(f"{more} not accepted: see `hecate devices sensors`", style="dim")


async def show_device(target: Target, text: str, *, as_json: bool) -> None:
    """Show one device."""
    async with SidecarClient(target) as sidecar:
        device = await find_device(sidecar, text, "show")
    if as_json:
        print_json(device)
        return
    lines = device_lines(device, time.time())
    width = max(len(name) for name, _ in lines) + 2
    for name, value in lines:
        console().print(f"{name:{width}}{printable(value)}", soft_wrap=True)


async def rename_device(target: Target, text: str, name: str) -> None:
    """Change the name of a device."""
    async with SidecarClient(target) as sidecar:
        device = await find_device(sidecar, text, "rename")
        what = f"rename {device['id']}"
        await sidecar.call(what, "PATCH", f"{DEVICES}/{device['id']}", json={"name": name})
    console().print(f"renamed {device['id']} to {printable(name)}", soft_wrap=True)


async def group_device(target: Target, text: str, joined: list[str], left: list[str]) -> None:
    """Change the groups of a device."""
    async with SidecarClient(target) as sidecar:
        device = await find_device(sidecar, text, "group")
        known = [str(group) for group in device.get("groups") or ()]
        for group in left:
            if group not in known:
                raise CliError(f"cannot group {device['id']}: it is not in {group}")
        wanted = [each for each in dict.fromkeys([*known, *joined]) if each not in left]
        what = f"group {device['id']}"
        await sidecar.call(what, "PATCH", f"{DEVICES}/{device['id']}", json={"groups": wanted})
    where = ", ".join(wanted) if wanted else "no group"
    console().print(f"{printable(str(device['name']))} is now in {where}", soft_wrap=True)


async def rotate_token(target: Target, text: str) -> None:
    """Give a device a new token, and wait until it has used it."""
    async with SidecarClient(target) as sidecar:
        device = await find_device(sidecar, text, "rotate")
        path, name = f"{DEVICES}/{device['id']}", printable(str(device["name"]))
        answer = await sidecar.call(f"rotate {device['id']}", "POST", f"{path}/rotate")
        if not answer["is_sent"]:
            console().print(f"{name} is offline; it gets a new token when it comes back")
            return
        deadline = time.monotonic() + ROTATE_WAIT_S
        while time.monotonic() < deadline:
            now = await sidecar.call(f"show {device['id']}", "GET", path)
            if not now["token"]["is_new_waiting"]:
                console().print(f"{name} uses a new token; the old one is void", soft_wrap=True)
                return
            await asyncio.sleep(POLL_S)
    raise CliError(
        f"cannot rotate {device['id']}: it did not use its new token within {ROTATE_WAIT_S:.0f} s; "
        "the old one stays good; its package may be too old to take new tokens"
    )


async def revoke_device(target: Target, text: str) -> None:
    """Revoke a device."""
    async with SidecarClient(target) as sidecar:
        device = await find_device(sidecar, text, "revoke")
        device_id = device["id"]
        await sidecar.call(f"revoke {device_id}", "POST", f"{DEVICES}/{device_id}/revoke")
    console().print(f"revoked {device_id}")
    notes().print(f"`hecate devices forget {device_id}` removes it from the list", style="dim")


async def forget_device(target: Target, text: str) -> None:
    """Revoke a device and remove it from the list."""
    async with SidecarClient(target) as sidecar:
        device = await find_device(sidecar, text, "forget")
        device_id = device["id"]
        await sidecar.call(f"forget {device_id}", "DELETE", f"{DEVICES}/{device_id}")
    console().print(f"forgot {device_id}")


async def find_device(sidecar: SidecarClient, text: str, what: str) -> dict[str, Any]:
    """Return the device with an id, or with a name that only one has; CliError for no such."""
    if DEVICE_ID.fullmatch(text):
        try:
            answer = await sidecar.call(f"{what} {text}", "GET", f"{DEVICES}/{text}")
        except CliError as exc:
            raise CliError(str(exc).replace("cannot show", f"cannot {what}", 1)) from exc
        return dict(answer)
    devices = rows_of(await sidecar.call("list devices", "GET", DEVICES))
    found = [device for device in devices if device.get("name") == text]
    if not found:
        raise CliError(
            f"cannot {what} {text!r}: no device has this id or name, see `hecate devices`"
        )
    if len(found) > 1:
        ids = ", ".join(str(device["id"]) for device in found[:4])
        raise CliError(f"cannot {what} {text!r}: {len(found)} devices have this name: {ids}")
    return found[0]
