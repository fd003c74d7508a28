"""Renders the nodes of a cluster as a table. Pure; the same input gives the same screen."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.cli.up.nodes.states import NodeState, leader_of, names_of

GOOD, WAITING, BAD = "green", "yellow", "red"
COLUMNS = ("", "NODE", "PROCESS", "ROLE", "EPOCH", "SUCCESSORS", "MEMBERS", "SEP", "UPLINK")
EVENTS = 8  # lines below the table


def render_nodes(
    states: Sequence[NodeState], events: Sequence[str] = (), hint: str = ""
) -> RenderableType:
    """Return the table, the last changes, and what to try."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in COLUMNS:
        table.add_column(column, header_style="bold dim", no_wrap=True)
    names = names_of(states)
    for state in states:
        table.add_row(*_row(state, names))
    parts: list[RenderableType] = [table, Text()]
    parts += [Text(f"  {line}", style="dim", no_wrap=True) for line in events[-EVENTS:]]
    if events:
        parts.append(Text())
    leader = leader_of(states)
    if leader is not None:
        kill = Text.assemble("  kill the supernode: ", (f"kill -9 {leader.pid}", "bold"))
        parts.append(kill)
    if hint:
        parts.append(Text(f"  {hint}", style="dim"))
    return Group(*parts)


def _row(state: NodeState, names: dict[str, str]) -> list[RenderableType]:
    if state.end:
        return [Text("●", style=BAD), Text(state.name), Text("-"), Text(f"gone, {state.end}")]
    is_well = state.role in ("supernode", "member")
    holds = bool(state.node_id) and state.node_id == state.sep_holder_id
    return [
        Text("●", style=GOOD if is_well else WAITING),
        Text(state.name),
        Text(str(state.pid)),
        Text(state.role or "starts", style="bold" if state.leads else ""),
        Text(str(state.epoch)),
        Text(", ".join(names.get(each, each[:12]) for each in state.successors) or "-"),
        Text(str(state.members)),
        Text("holds it" if holds else "-"),
        Text(state.uplink, style="" if state.uplink == "online" else "dim"),
    ]
