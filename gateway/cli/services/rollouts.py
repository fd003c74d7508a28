"""Deploys to several nodes of the account, and shows the progress of each."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.cli.client.records import rows_of
from gateway.cli.client.sidecar import SidecarClient
from gateway.cli.client.target import Target
from gateway.cli.errors import CliError
from gateway.cli.output import console, notes, print_json, print_table
from gateway.cli.view.words import ago, plural

ROLLOUTS = "/mcm/v1/rollouts"
COLUMNS = ("ROLLOUT", "STATE", "IMAGE", "BEGUN", "NODES")
NODE_COLUMNS = ("NODE", "NAME", "STATE", "ERROR")
POLL_S = 0.5
ID_SHOWN = 12
ENDED = frozenset({"done", "stopped", "cancelled", "waiting"})
SHARE = "20%"
_ORDER = {"failed": 0, "starting": 1, "transferring": 2, "unreachable": 3, "pending": 4, "ready": 5}
_STYLES = {"failed": "red", "unreachable": "yellow", "ready": "green", "pending": "dim"}


@dataclass(frozen=True, slots=True)
class RolloutOptions:
    """The nodes of a roll-out, and its caution."""

    nodes: tuple[str, ...] = ()  # ids, their first characters, or names
    every: bool = False
    wave: str = SHARE
    max_failures: str = "0"

    @property
    def is_wanted(self) -> bool:
        """True when other nodes than the gateway itself are meant."""
        return self.every or bool(self.nodes)


@dataclass(frozen=True, slots=True)
class RolloutBody:
    """The container that all nodes get."""

    name: str
    image: str
    env: Mapping[str, str] = field(default_factory=dict, repr=False)


async def roll_out(
    sidecar: SidecarClient, body: RolloutBody, options: RolloutOptions, *, as_json: bool
) -> int:
    """Begin a roll-out of an image that the gateway has; show it; return the exit code."""
    names = await _names_of_nodes(sidecar)
    nodes: Any = "all" if options.every else [_node_id(names, node) for node in options.nodes]
    fields = {"name": body.name, "image": body.image, "env": dict(body.env), "nodes": nodes}
    fields |= {"wave": _share(options.wave), "maxFailures": _share(options.max_failures)}
    rollout = await _call(sidecar, f"roll out {body.name}", "POST", ROLLOUTS, json=fields)
    return await _watch(sidecar, rollout, names, as_json=as_json)


async def list_rollouts(target: Target, *, as_json: bool) -> None:
    """Show the roll-outs that a gateway coordinates, the newest first."""
    async with SidecarClient(target) as sidecar:
        answer = await _call(sidecar, "list roll-outs", "GET", ROLLOUTS)
    if as_json:
        print_json(answer)
        return
    now = time.time()
    rows = [rollout_row(row, now) for row in reversed(rows_of(answer))]
    print_table(COLUMNS, rows, "no roll-outs yet; `hecate deploy DIR --all` begins one")


async def show_rollout(target: Target, rollout_id: str, *, follow: bool, as_json: bool) -> int:
    """Show a roll-out node by node, until it ends if wanted; return the exit code."""
    async with SidecarClient(target) as sidecar:
        rollout = await _find(sidecar, rollout_id)
        names = await _names_of_nodes(sidecar)
        if follow:
            return await _watch(sidecar, rollout, names, as_json=as_json)
    _show(rollout, names, as_json=as_json)
    return 0


async def change_rollout(target: Target, rollout_id: str, state: str, *, as_json: bool) -> None:
    """Cancel a roll-out, or go on with one that has stopped."""
    async with SidecarClient(target) as sidecar:
        found = await _find(sidecar, rollout_id)
        path = f"{ROLLOUTS}/{found['id']}"
        rollout = await sidecar.call("change the roll-out", "PUT", path, json={"state": state})
    if as_json:
        print_json(rollout)
    else:
        console().print(f"{rollout['id']} {rollout['state']}", soft_wrap=True)


def rollout_row(rollout: Mapping[str, Any], now: float) -> tuple[str, ...]:
    """Return a row for a roll-out at a unix time."""
    return (
        str(rollout.get("id", "")),
        str(rollout.get("state", "")),
        str(rollout.get("image", "")),
        ago(now - float(rollout.get("created") or 0) / 1000),
        count_states(rollout),
    )


def count_states(rollout: Mapping[str, Any]) -> str:
    """Return how many nodes are in each state, such as "3 ready, 1 failed"."""
    counts = rollout.get("counts") or {}
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count)


def node_rows(rollout: Mapping[str, Any], names: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Return a row for each node: those that need a person first."""
    nodes = [node for node in rollout.get("nodes") or () if isinstance(node, dict)]
    nodes.sort(key=lambda node: _ORDER.get(str(node.get("state")), 0))
    return [
        (
            str(node.get("id", ""))[:ID_SHOWN],
            names.get(str(node.get("id")), ""),
            str(node.get("state", "")),
            str(node.get("error") or ""),
        )
        for node in nodes
    ]


async def _watch(
    sidecar: SidecarClient, rollout: dict[str, Any], names: Mapping[str, str], *, as_json: bool
) -> int:
    """Show a roll-out until it ends; return 0 when no node has failed."""
    path, out = f"{ROLLOUTS}/{rollout['id']}", notes()
    live = Live(console=out, transient=True, auto_refresh=False) if out.is_terminal else None
    seen: dict[str, str] = {}
    try:
        if live is not None:
            live.start()
        while True:
            if live is not None:
                live.update(_table(rollout, names, out.height), refresh=True)
            elif not as_json:
                for line in changed_lines(rollout, names, seen):
                    out.print(line, soft_wrap=True)
            if rollout.get("state") in ENDED:
                break
            await asyncio.sleep(POLL_S)
            rollout = await sidecar.call("watch the roll-out", "GET", path)
    except asyncio.CancelledError:  # Ctrl-C
        out.print(f"the roll-out goes on: hecate rollouts show {rollout['id']} --follow")
        raise
    finally:
        if live is not None:
            live.stop()
    _show(rollout, names, as_json=as_json)
    if not as_json:
        _explain(rollout)
    return 0 if rollout["state"] in ("done", "waiting") and not _failed(rollout) else 1


def changed_lines(
    rollout: Mapping[str, Any], names: Mapping[str, str], seen: dict[str, str]
) -> list[str]:
    """Return a line for each node whose state is another than the one that was seen; note it."""
    lines = []
    for node_id, name, state, error in node_rows(rollout, names):
        if seen.get(node_id) != state:
            seen[node_id] = state
            lines.append(" ".join(part for part in (node_id, name, state, error) if part))
    return lines


def _show(rollout: dict[str, Any], names: Mapping[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json(rollout)
        return
    print_table(NODE_COLUMNS, node_rows(rollout, names), "no nodes", frozenset({"NAME", "ERROR"}))
    notes().print(f"{rollout['state']}: {count_states(rollout)}", style="dim", soft_wrap=True)


def _explain(rollout: Mapping[str, Any]) -> None:
    rollout_id, state = rollout["id"], rollout["state"]
    if state == "waiting":
        count = plural((rollout.get("counts") or {}).get("unreachable", 0), "node")
        text = f"{count} cannot be reached now; the gateway goes on by itself when they are back"
    elif state == "stopped":
        text = f"too many nodes have failed; `hecate rollouts resume {rollout_id}` tries them again"
    else:
        return
    notes().print(f"{text} (`hecate rollouts show {rollout_id}`)", style="dim", soft_wrap=True)


def _table(rollout: Mapping[str, Any], names: Mapping[str, str], height: int) -> Table:
    rows, most = node_rows(rollout, names), max(3, height - 4)
    table = Table(box=None, pad_edge=False, show_header=False)
    for row in rows[:most]:
        state = Text(row[2], style=_STYLES.get(row[2], ""))
        table.add_row(Text(row[0]), Text(row[1]), state, Text(row[3], style="red"))
    more = f"{len(rows) - most} more; " if len(rows) > most else ""
    table.add_row(Text(f"{more}{count_states(rollout)}", style="dim"))
    return table


def _failed(rollout: Mapping[str, Any]) -> int:
    return int((rollout.get("counts") or {}).get("failed", 0))


async def _call(sidecar: SidecarClient, what: str, method: str, path: str, **request: Any) -> Any:
    """Return an answer; say of a gateway without a cloud that it has no other nodes."""
    try:
        return await sidecar.call(what, method, path, **request)
    except CliError as exc:
        status = await sidecar.call(what, "GET", "/status/v1")
        if (status.get("sep") or {}).get("url"):
            raise
        raise CliError(
            f"cannot {what}: this gateway has no cloud, and so no other nodes; [cloud] url in "
            "gateway.toml names one"
        ) from exc


async def _find(sidecar: SidecarClient, rollout_id: str) -> dict[str, Any]:
    rows = rows_of(await _call(sidecar, "find the roll-out", "GET", ROLLOUTS))
    found = [row for row in rows if str(row.get("id", "")).startswith(rollout_id)]
    if len(found) != 1:
        why = "several begin with it" if found else "see `hecate rollouts`"
        raise CliError(f"cannot find roll-out {rollout_id}: {why}")
    return found[0]


async def _names_of_nodes(sidecar: SidecarClient) -> dict[str, str]:
    """Return the names of the account's nodes by id."""
    params = {"clusters": "account"}
    answer = await sidecar.call("list nodes", "GET", "/mds/v1/nodes", params=params)
    return {str(row["id"]): str(row.get("name") or "") for row in rows_of(answer) if row.get("id")}


def _node_id(names: Mapping[str, str], node: str) -> str:
    """Return the id of a node, given it, its first characters, or its name."""
    found = [each for each, name in names.items() if node in (each, name)]
    found = found or [each for each in names if each.startswith(node)]
    if len(found) == 1:
        return found[0]
    why = (
        "several nodes are called so; give the id"
        if found
        else "see `hecate nodes --cluster account`"
    )
    raise CliError(f"cannot find node {node}: {why}{_known(names.values())}")


def _known(names: Iterable[str]) -> str:
    known = ", ".join(sorted(name for name in names if name)[:10])
    return f"; there are: {known}" if known else ""


def _share(text: str) -> int | str:
    return int(text) if text.isdecimal() else text
