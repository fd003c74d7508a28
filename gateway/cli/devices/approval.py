"""Makes claim tokens, and approves boards that wait."""

import asyncio
import time
from typing import Any
from urllib.parse import quote

from gateway.cli.client.sidecar import SidecarClient
from gateway.cli.client.target import Target
from gateway.cli.devices.registry import DEVICES, PENDING, POLL_S
from gateway.cli.errors import CliError
from gateway.cli.output import console, notes, print_json
from gateway.cli.view.words import duration, plural, printable

ONLINE_WAIT_S = 60.0


async def make_claim(target: Target, uses: int, ttl_s: int, board: str, *, as_json: bool) -> None:
    """Make a claim token and print it; only the token goes to standard output."""
    body = {"uses": uses, "ttl_s": ttl_s, "board": board}
    async with SidecarClient(target) as sidecar:
        answer = await sidecar.call("make a claim token", "POST", "/devices/v1/claims", json=body)
    if as_json:
        print_json(answer)
    else:
        console().print(str(answer["token"]), soft_wrap=True)
        times = "once" if uses == 1 else f"{uses} times"
        only = f", for the board {board} only" if board else ""
        notes().print(
            f"good for {duration(ttl_s)}, {times}{only}; give it to the device", style="dim"
        )


async def end_claims(target: Target, *, as_json: bool) -> None:
    """Make all claim tokens void."""
    async with SidecarClient(target) as sidecar:
        answer = await sidecar.call("end claim tokens", "DELETE", "/devices/v1/claims")
    if as_json:
        print_json(answer)
    else:
        console().print(f"ended {plural(int(answer['ended']), 'claim token')}")


async def approve_board(
    target: Target, code: str, name: str, *, as_new: bool, as_json: bool, wait: bool
) -> None:
    """Approve a board, and wait until it is online as a device."""
    body: dict[str, Any] = {"new": as_new} | ({"name": name} if name else {})
    async with SidecarClient(target) as sidecar:
        board = await sidecar.call(
            f"approve {code}", "POST", f"{PENDING}/{quote(code, safe='')}/approve", json=body
        )
        device_id = str(board["device_id"])
        if as_json:
            print_json(board)
        else:
            console().print(
                f"approved {printable(str(board['name']))} as {device_id}", soft_wrap=True
            )
        if not wait or as_json:
            return
        if not await wait_online(sidecar, device_id, ONLINE_WAIT_S):
            notes().print(
                "the board is not online yet: it joins when it asks the next time, within a week; "
                "see `hecate devices`",
                style="dim",
            )
            return
    console().print(f"{printable(str(board['name']))} is online")


async def deny_board(target: Target, code: str) -> None:
    """Refuse a board."""
    async with SidecarClient(target) as sidecar:
        await sidecar.call(f"deny {code}", "DELETE", f"{PENDING}/{quote(code, safe='')}")
    console().print(f"refused {code}")


async def wait_online(sidecar: SidecarClient, device_id: str, timeout_s: float) -> bool:
    """Return whether a device comes online in time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            device = await sidecar.call(f"show {device_id}", "GET", f"{DEVICES}/{device_id}")
        except CliError as exc:
            if "no such device" not in str(exc):
                raise
            device = {}
        if device.get("online"):
            return True
        await asyncio.sleep(POLL_S)
    return False
