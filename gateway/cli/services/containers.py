"""Lists, starts, stops and removes the microservices of a gateway."""

import time
from collections.abc import Sequence
from typing import Any

from gateway.cli.client.records import rows_of
from gateway.cli.client.sidecar import SidecarClient
from gateway.cli.client.target import Target
from gateway.cli.errors import CliError
from gateway.cli.output import console, print_json, print_table
from gateway.cli.view.words import ago, duration, number_of

CONTAINERS, IMAGES = "/mcm/v1/containers", "/mcm/v1/images"
BASE_KEY = "MCM.BASE_API_PATH"
PS_COLUMNS = (
    "NAME", "STATE", "SINCE", "IMAGE", "VERSION", "PATH", "HANDLED", "FAILED", "DROPPED", "DEAD",
    "RESTARTS", "REASON",
)  # fmt: skip
OPTIONAL = frozenset({"VERSION", "FAILED", "DROPPED", "DEAD", "RESTARTS", "REASON"})
START_S = 630.0  # a microservice may take 600 s to start


async def list_containers(target: Target, *, as_json: bool) -> None:
    """Show the containers."""
    async with SidecarClient(target) as sidecar:
        answer = await sidecar.call("list microservices", "GET", CONTAINERS)
    if as_json:
        print_json(answer)
        return
    now = time.time()
    rows = [container_row(row, now) for row in rows_of(answer)]
    print_table(PS_COLUMNS, rows, "no microservices yet; `hecate deploy DIR` runs one", OPTIONAL)


async def change_state(target: Target, names: Sequence[str], state: str, *, as_json: bool) -> None:
    """Start, stop or restart containers one after the other."""
    changed = []
    async with SidecarClient(target, START_S) as sidecar:
        for name in names:
            container_id = (await find_container(sidecar, name))["id"]
            container = await sidecar.call(
                f"change {name}", "PUT", f"{CONTAINERS}/{container_id}", json={"state": state}
            )
            changed.append(container)
            if not as_json:
                console().print(f"{name} {state}", soft_wrap=True)
    if as_json:
        print_json({"data": changed})


async def remove(target: Target, names: Sequence[str], *, as_json: bool) -> None:
    """Remove containers, or images of that name when there is no such container."""
    removed = []
    async with SidecarClient(target, START_S) as sidecar:
        for name in names:
            what = f"remove {name}"
            path = await _path_to_remove(sidecar, name)
            removed.append(await sidecar.call(what, "DELETE", path))
            if not as_json:
                console().print(f"removed {name}", soft_wrap=True)
    if as_json:
        print_json({"data": removed})


async def find_container(sidecar: SidecarClient, name: str) -> dict[str, Any]:
    """Return the container of a name or id; CliError names the existing ones."""
    rows = rows_of(await sidecar.call(f"find {name}", "GET", CONTAINERS))
    found = _named(rows, name)
    if found is None:
        known = ", ".join(str(row.get("name")) for row in rows) or "none"
        raise CliError(f"cannot find microservice {name}; there are: {known}")
    return found


def container_row(container: dict[str, Any], now: float) -> tuple[str, ...]:
    """Return a row for a container at a unix time."""
    started_at = number_of(container, "startedAt") / 1000
    is_up = container.get("state") == "started" and started_at
    return (
        str(container.get("name", "")),
        str(container.get("state", "")),
        duration(now - started_at) if is_up else "",
        str(container.get("image", "")),
        str(container.get("version") or ""),
        str((container.get("env") or {}).get(BASE_KEY, "")),
        f"{number_of(container, 'handled'):.0f}",
        f"{number_of(container, 'failed'):.0f}",
        f"{number_of(container, 'dropped'):.0f}",
        f"{number_of(container.get('deadLetters') or {}, 'kept'):.0f}",
        f"{number_of(container, 'restarts'):.0f}",
        "; ".join(filter(None, (reason(container, now), news(container), backlog(container)))),
    )


def reason(container: dict[str, Any], now: float) -> str:
    """Return why a container does not run, or why its last process ended; and the next try."""
    error = str(container.get("error") or "")
    next_try = number_of(container, "nextTry") / 1000
    if error and next_try:
        error = f"{error}; next try in {duration(max(0.0, next_try - now))}"
    last_end = container.get("lastEnd") or {}
    why = str(last_end.get("reason") or "")
    if error or not why or why in str(container.get("note")):  # the note of the version has it
        return error
    return f"{why} ({ago(now - number_of(last_end, 'at') / 1000)})"


def news(container: dict[str, Any]) -> str:
    """Return why another version than the last one runs, and which one is being deployed."""
    found = [str(container["note"])] if container.get("note") else []
    if waiting := number_of(container, "waiting"):
        found.append(f"version {waiting:.0f} is being deployed")
    return "; ".join(found)


def backlog(container: dict[str, Any]) -> str:
    """Return the waiting publishers, and the command that shows unhandled messages."""
    found = []
    if held := number_of(container.get("messages") or {}, "held"):
        found.append(f"publishers of {held:.0f} messages wait")
    if number_of(container.get("deadLetters") or {}, "kept"):
        found.append(f"see `hecate deadletters list {container.get('name')}`")
    return "; ".join(found)


async def _path_to_remove(sidecar: SidecarClient, name: str) -> str:
    container = _named(rows_of(await sidecar.call(f"find {name}", "GET", CONTAINERS)), name)
    if container is not None:
        return f"{CONTAINERS}/{container['id']}"
    image = _named(rows_of(await sidecar.call(f"find {name}", "GET", IMAGES)), name)
    if image is not None:
        return f"{IMAGES}/{image['id']}"
    raise CliError(
        f"cannot find {name}: neither a microservice (`hecate ps`) nor an image (`hecate images`)"
    )


def _named(rows: list[dict[str, Any]], name: str) -> dict[str, Any] | None:
    return next((row for row in rows if name in (row.get("name"), row.get("id"))), None)
