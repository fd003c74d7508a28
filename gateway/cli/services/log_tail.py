"""Shows the end of a container's log beside the error of a deployment."""

from collections.abc import Mapping
from typing import Any

from gateway.cli.client.records import rows_of
from gateway.cli.client.sidecar import SidecarClient
from gateway.cli.errors import CliError
from gateway.cli.services.containers import CONTAINERS
from gateway.cli.view.words import printable

LINES = 24
LOOK_BACK = 200  # lines among which the mark is looked for


async def last_line(sidecar: SidecarClient, container: Mapping[str, Any]) -> str:
    """Return the last line of a container's log before a deployment; "" without one."""
    if not container.get("id"):
        return ""
    lines = await _read(sidecar, str(container["id"]), 1)
    return lines[-1] if lines else ""


async def explain_end(sidecar: SidecarClient, name: str, mark: str) -> str:
    """Return what a container has printed since the mark, for the end of an error; or ""."""
    try:
        rows = rows_of(await sidecar.call(f"find {name}", "GET", CONTAINERS))
        container_id = next((str(row["id"]) for row in rows if row.get("name") == name), "")
        lines = await _read(sidecar, container_id, LOOK_BACK) if container_id else []
    except CliError:
        return ""  # the error that is being explained says more
    if mark in lines:
        lines = lines[len(lines) - lines[::-1].index(mark) :]
    shown = [line.partition(" ")[2] for line in lines][-LINES:]
    if not shown:
        return ""
    text = "\n".join(f"  {printable(line.rstrip())}" for line in shown)
    return f"\n\nthe end of its log (`hecate logs {name}` has more):\n{text}"


async def _read(sidecar: SidecarClient, container_id: str, tail: int) -> list[str]:
    async with sidecar.stream(
        "read the log", "GET", f"{CONTAINERS}/{container_id}/logs", params={"tail": tail}
    ) as response:
        text = (await response.aread()).decode(errors="replace")
    return [] if response.is_error else text.rstrip("\n").split("\n") if text else []
