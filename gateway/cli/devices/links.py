"""Lists the links to devices without IP, and has one paused."""

from pathlib import Path

from gateway.cli.client.records import rows_of
from gateway.cli.client.sidecar import SidecarClient
from gateway.cli.client.target import Target
from gateway.cli.devices.rows import LINK_COLUMNS, LINK_OPTIONAL, link_row
from gateway.cli.output import print_json, print_table

LINKS = "/devices/v1/links"
NO_LINKS = (
    'no links; name serial lines in the gateway\'s configuration: [[serial]] path = "/dev/ttyUSB0"'
)


async def list_links(target: Target, *, as_json: bool) -> None:
    """Show the links, their states and counters."""
    async with SidecarClient(target) as sidecar:
        links = rows_of(await sidecar.call("list links", "GET", LINKS))
    if as_json:
        print_json({"data": links})
    else:
        print_table(LINK_COLUMNS, [link_row(each) for each in links], NO_LINKS, LINK_OPTIONAL)


async def pause_link(sidecar: SidecarClient, path: Path, seconds: float) -> bool:
    """Have the gateway leave a port for a while; 0 ends that. False: it does not use the port."""
    body = {"path": str(path), "seconds": seconds}
    answer = await sidecar.call("pause link", "POST", f"{LINKS}/pause", json=body)
    return bool(answer["found"])
