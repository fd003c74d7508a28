"""Queries a running gateway for the commands, and shows the answers."""

import asyncio
import time
from typing import Any

from gateway.cli.client.records import NODE_COLUMNS, node_row, rows_of
from gateway.cli.client.sidecar import SidecarClient
from gateway.cli.client.target import Target
from gateway.cli.errors import CliError
from gateway.cli.output import console, notes, print_json, print_table
from gateway.cli.view.screen import render
from gateway.cli.view.snapshot import parse_snapshot
from gateway.cli.view.watch import Watch
from gateway.cli.view.words import metres, printable
from protocol.codes import REQUEST_BEP

RATE_S = 1.0  # between two looks, to see how fast messages come


async def show_status(target: Target, *, as_json: bool) -> int:
    """Show the status of a gateway; return 0 when it is ready, else 1."""
    out = console()
    watch = Watch()
    async with SidecarClient(target) as sidecar:
        answer = await _status(sidecar)
        if out.is_terminal and not as_json:
            watch.take(parse_snapshot(answer), time.monotonic())
            await asyncio.sleep(RATE_S)
            answer = await _status(sidecar)
    snapshot = parse_snapshot(answer)
    if as_json:
        print_json(answer)
    elif out.is_terminal:
        out.print(render(watch.take(snapshot, time.monotonic()), time.time()))
    else:
        for line in watch.changes(snapshot):
            out.print(line, soft_wrap=True)
    return 0 if snapshot.ready else 1


async def _status(sidecar: SidecarClient) -> dict[str, Any]:
    answer = await sidecar.call("read status", "GET", "/status/v1")
    if not isinstance(answer, dict):
        raise CliError(f"cannot read status: {sidecar.url} is not a gateway")
    return answer


async def list_nodes(target: Target, cluster: str, radius_m: int, *, as_json: bool) -> None:
    """Show the nodes of a cluster; the radius counts for proximity."""
    what, params = "list nodes", {"clusters": cluster, "radius": radius_m}
    async with SidecarClient(target) as sidecar:
        answer = await sidecar.call(what, "GET", "/mds/v1/nodes", params=params)
        state = {} if cluster != "linkLocal" else await sidecar.call(what, "GET", "/cluster/v1")
    if as_json:
        print_json(answer)
        return
    if cluster == "proximity":
        rows = [(*node_row(row), metres(row.get("distance", 0.0))) for row in rows_of(answer)]
        print_table((*NODE_COLUMNS, "DISTANCE"), rows, f"no nodes within {metres(radius_m)}")
    else:
        print_table(NODE_COLUMNS, [node_row(row) for row in rows_of(answer)], "no nodes")
    for warning in state.get("warnings", ()):
        notes().print(printable(str(warning)), soft_wrap=True)


async def make_code(target: Target, node_id: str | None, ttl_s: int, *, as_json: bool) -> None:
    """Make a code that opens a BEP on a node; only the code goes to standard output."""
    async with SidecarClient(target) as sidecar:
        node_id = node_id or str((await sidecar.rpc("getMe"))["nodeId"])
        expires_at = int(time.time()) + ttl_s
        answer = await sidecar.rpc("getEdgeHmacCode", "", str(expires_at), node_id, REQUEST_BEP)
    code = str(answer["edgeHmacCode"])
    if as_json:
        print_json({"code": code, "node": node_id, "expires_at": expires_at})
    else:
        console().print(code, soft_wrap=True)
