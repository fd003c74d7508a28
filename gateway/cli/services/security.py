"""Shows the isolation of the microservices, as a probe inside each of them found it."""

from typing import Any

from gateway.cli.client.records import rows_of
from gateway.cli.client.sidecar import SidecarClient
from gateway.cli.client.target import Target
from gateway.cli.output import print_json, print_table
from gateway.cli.services.containers import CONTAINERS

COLUMNS = ("NAME", "ISOLATION", "LEVEL", "DETAIL")


async def show_security(target: Target, *, as_json: bool) -> None:
    """Print a row for each finding of each microservice."""
    what = "read the isolation of microservices"
    reports = []
    async with SidecarClient(target) as sidecar:
        for container in rows_of(await sidecar.call(what, "GET", CONTAINERS)):
            path = f"{CONTAINERS}/{container['id']}/security"
            reports.append(await sidecar.call(what, "GET", path))
    if as_json:
        print_json({"data": reports})
        return
    rows = [row for report in reports for row in security_rows(report)]
    print_table(COLUMNS, rows, "no microservices yet; `hecate deploy DIR` runs one")


def security_rows(report: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the rows of one microservice."""
    findings = [each for each in report.get("findings") or () if isinstance(each, dict)]
    if not findings:
        return [(str(report.get("name", "")), "", str(report.get("state", "")), "no probe yet")]
    return [
        (
            str(report.get("name", "")),
            str(finding.get("name", "")),
            str(finding.get("level", "")),
            str(finding.get("detail") or ""),
        )
        for finding in findings
    ]
