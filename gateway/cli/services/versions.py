"""Lists the versions of a microservice, and goes back to a former one."""

import time
from typing import Any

from gateway.cli.client.records import rows_of
from gateway.cli.client.sidecar import SidecarClient
from gateway.cli.client.target import Target
from gateway.cli.output import console, notes, print_json, print_table
from gateway.cli.services.containers import CONTAINERS, find_container
from gateway.cli.view.words import ago

COLUMNS = ("VERSION", "STATE", "IMAGE", "SINCE", "DIGEST", "ENV", "ERROR")
START_S = 630.0  # a microservice may take 600 s to start
DIGEST_SHOWN = 19


async def list_versions(target: Target, name: str, *, as_json: bool) -> None:
    """Show the versions of a microservice, the newest first."""
    async with SidecarClient(target) as sidecar:
        container = await find_container(sidecar, name)
        path = f"{CONTAINERS}/{container['id']}/versions"
        answer = await sidecar.call(f"list the versions of {name}", "GET", path)
    if as_json:
        print_json(answer)
        return
    now = time.time()
    newest_first = sorted(rows_of(answer), key=_number_of, reverse=True)
    rows = [version_row(row, now) for row in newest_first]
    print_table(COLUMNS, rows, f"{name} has no versions")


async def roll_back(target: Target, name: str, number: int | None, *, as_json: bool) -> None:
    """Run a former version of a microservice: the one before, or the one of a number."""
    async with SidecarClient(target, START_S) as sidecar:
        before = await find_container(sidecar, name)
        path = f"{CONTAINERS}/{before['id']}/rollback"
        body = {} if number is None else {"version": number}
        container = await sidecar.call(f"roll back {name}", "POST", path, json=body)
    if as_json:
        print_json(container)
        return
    now_runs = f"{container.get('image')}, version {container.get('version')}"
    console().print(f"{name} runs {now_runs}", soft_wrap=True)
    if before.get("version"):
        hint = f"`hecate rollback {name} --to {before['version']}` undoes this"
        notes().print(hint, style="dim", soft_wrap=True)


def version_row(version: dict[str, Any], now: float) -> tuple[str, ...]:
    """Return a row for a version at a unix time."""
    created = version.get("created")
    since = ago(now - created / 1000) if isinstance(created, int | float) and created else ""
    return (
        str(_number_of(version)),
        str(version.get("state", "")),
        str(version.get("image", "")),
        since,
        str(version.get("digest", ""))[:DIGEST_SHOWN],
        " ".join(f"{key}={value}" for key, value in (version.get("env") or {}).items()),
        str(version.get("error") or ""),
    )


def _number_of(version: dict[str, Any]) -> int:
    number = version.get("version")
    return number if isinstance(number, int) else 0
