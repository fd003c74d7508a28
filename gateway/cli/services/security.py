"""Shows the isolation of microservices, as a probe in each found it."""

from typing import Any

from gateway.cli.client.records import rows_of
from gateway.cli.client.sidecar import SidecarClient
from gateway.cli.client.target import Target
from gateway.cli.output import print_json, print_table
from gateway.cli.services.containers import CONTAINERS

COLUMNS = ("NAME", "ISOLATED", "LEVEL", "FOUND")


async def list_security(target: Target, *, as_json: bool) -> None:
    """Show the findings of each container."""
    what = "show the isolation of microservices"
    async with SidecarClient(target) as sidecar:
        containers = rows_of(await sidecar.call(what, "GET", CONTAINERS))
        found = [
            await sidecar.call(what, "GET", f"{CONTAINERS}/{container['id']}/security")
            for container in containers
        ]
    if as_json:
        print_json({"data": found})
        return
    rows = [row for one in found for row in security_rows(one)]
    print_table(COLUMNS, rows, "no microservices yet; `hecate deploy DIR` runs one")


def security_rows(container: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return a row for each finding of a container; one that says why there is none."""
    name, findings = str(container.get("name", "")), container.get("findings") or []
    if not findings:
        return [(name, "", "", f"it is {container.get('state', 'unknown')}: no process to probe")]
    return [
        (name, str(one.get("name", "")), str(one.get("level", "")), str(one.get("detail", "")))
        for one in findings
    ]
