"""Shows the cluster and the ways to its nodes, and calls other nodes."""

import sys
import time
from dataclasses import dataclass
from typing import Any

from gateway.cli.client.records import NODE_COLUMNS, node_row, rows_of
from gateway.cli.client.sidecar import SidecarClient, decode_answer
from gateway.cli.client.target import Target
from gateway.cli.errors import CliError
from gateway.cli.output import notes, print_json, print_table
from gateway.cli.view.words import ago, printable
from protocol.ids import NODE_ID

REFUSED_COLUMNS = ("NODE", "ADDRESS", "LAST", "TIMES", "REASON")
ROUTE_COLUMNS = ("WAY", "REASON")
CALL_S = 90.0  # above the times of the gateway


@dataclass(frozen=True, slots=True)
class NodeRequest:
    """A request to a node."""

    method: str
    path: str
    body: bytes
    is_bulk: bool = False


async def list_all_nodes(target: Target, *, as_json: bool) -> int:
    """Show the nodes of the cluster and of the account, each once.

    Return 1 when those of the account are not known, because the cloud does not answer.
    """
    found: dict[str, dict[str, Any]] = {}
    fault = ""
    async with SidecarClient(target) as sidecar:
        for cluster in ("linkLocal", "account"):
            what, path = "list nodes", "/mds/v1/nodes"
            try:
                answer = await sidecar.call(what, "GET", path, params={"clusters": cluster})
            except CliError as exc:
                if not found:
                    raise
                fault = f"the nodes of the account are missing: {exc}; see `hecate status`"
                break
            for row in rows_of(answer):
                known = found.setdefault(str(row.get("id", "")), {**row, "clusters": []})
                known["clusters"].append(cluster)
    if as_json:
        print_json({"data": list(found.values()), **({"error": fault} if fault else {})})
    else:
        rows = [(*node_row(row), ", ".join(row["clusters"])) for row in found.values()]
        print_table((*NODE_COLUMNS, "CLUSTERS"), rows, "no nodes")
    if fault:
        notes().print(printable(fault), soft_wrap=True)
    return 1 if fault else 0


async def list_refused(target: Target, *, as_json: bool) -> int:
    """Show the nodes that this one did not admit; return 0."""
    async with SidecarClient(target) as sidecar:
        answer = await sidecar.call("list refused nodes", "GET", "/cluster/v1")
    refused = answer["refused"]
    if as_json:
        print_json({"data": refused})
        return 0
    now = time.time()
    rows = [
        (
            str(each["id"]),
            str(each["address"]),
            ago(max(now - each["at"], 0.0)),
            str(each["times"]),
            str(each["reason"]),
        )
        for each in refused
    ]
    print_table(REFUSED_COLUMNS, rows, "no node was refused")
    return 0


async def show_route(target: Target, node: str, *, as_json: bool) -> int:
    """Show the ways to a node, the first to be tried first; return 1 when there is none."""
    async with SidecarClient(target) as sidecar:
        node_id = await find_id(sidecar, node)
        answer = await sidecar.call("find a way", "GET", f"/cluster/v1/routes/{node_id}")
    if as_json:
        print_json(answer)
    else:
        rows = [(str(row.get("way", "")), str(row.get("why", ""))) for row in rows_of(answer)]
        print_table(ROUTE_COLUMNS, rows, "no way: it is in no cluster and no account of this node")
    return 0 if rows_of(answer) else 1


async def call_node(target: Target, node: str, call: NodeRequest) -> int:
    """Print a node's answer to a request; return 1 when it is an error."""
    if not call.path.startswith("/"):
        raise CliError(f"cannot call {call.path!r}: the path must start with /")
    async with SidecarClient(target, CALL_S) as sidecar:
        node_id = await find_id(sidecar, node)
        path = f"/nodes/{node_id}{call.path}"
        what = f"call node {node_id:.12}"
        headers = {"x-hecate-bulk": "1"} if call.is_bulk else {}
        method = call.method.upper()
        async with sidecar.stream(what, method, path, content=call.body, headers=headers) as answer:
            if answer.headers.get("content-type") == "application/problem+json":
                await answer.aread()
                decode_answer(what, answer)
            if answer.is_error:
                notes().print(f"HTTP {answer.status_code}", style="dim")
            async for piece in answer.aiter_bytes():
                sys.stdout.buffer.write(piece)
    sys.stdout.flush()
    return 1 if answer.is_error else 0


async def find_id(sidecar: SidecarClient, node: str) -> str:
    """Return the id of a node that is given by id, by the start of one, or by name."""
    if NODE_ID.fullmatch(node):
        return node
    if not node:  # every id starts with it
        raise CliError("cannot find node: its name is empty; see `hecate nodes --all`")
    found: set[str] = set()
    for cluster in ("linkLocal", "account"):
        answer = await sidecar.call(
            "list nodes", "GET", "/mds/v1/nodes", params={"clusters": cluster}
        )
        found |= {
            str(row["id"])
            for row in rows_of(answer)
            if str(row["id"]).startswith(node) or row.get("name") == node
        }
        if found:
            break
    if len(found) != 1:
        why = "several nodes match" if found else "no node has this id or name"
        raise CliError(f"cannot find node {node!r}: {why}; see `hecate nodes --all`")
    return found.pop()
