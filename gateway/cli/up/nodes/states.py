"""Holds what is known of each node of `hecate up --nodes N`, and tells the changes. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

SUPERNODE = "supernode"


@dataclass(frozen=True, slots=True)
class NodeState:
    """One node as it describes itself."""

    name: str
    pid: int = 0  # 0 while none runs
    node_id: str = ""
    role: str = ""  # "" until it answers
    epoch: int = 0
    supernode_id: str = ""
    sep_holder_id: str = ""
    successors: tuple[str, ...] = ()
    members: int = 0
    uplink: str = ""
    end: str = ""  # the end of its process; "" while it runs

    @property
    def leads(self) -> bool:
        """True for a supernode that runs."""
        return self.role == SUPERNODE and not self.end

    def gone(self, end: str) -> "NodeState":
        """Return the state after its process has ended."""
        return NodeState(self.name, 0, self.node_id, end=end)

    def silent(self) -> "NodeState":
        """Return the state while the process runs and does not answer."""
        return replace(self, role="no answer", uplink="", successors=(), members=0)


def read_state(
    name: str, pid: int, cluster: Mapping[str, Any], status: Mapping[str, Any]
) -> NodeState:
    """Return the state in the answers of a node's API."""
    sep = status.get("sep")
    return NodeState(
        name=name,
        pid=pid,
        node_id=str(cluster.get("id", "")),
        role=str(cluster.get("role", "")),
        epoch=int(cluster.get("epoch", 0)),
        supernode_id=str(cluster.get("supernodeId", "")),
        sep_holder_id=str(cluster.get("sepHolderId", "")),
        successors=tuple(str(each) for each in cluster.get("successors", ())),
        members=len(cluster.get("members", ())),
        uplink=str(sep.get("state", "")) if isinstance(sep, Mapping) else "",
    )


def leader_of(states: Iterable[NodeState]) -> NodeState | None:
    """Return the supernode with the highest epoch; None while there is none."""
    return max((s for s in states if s.leads), key=lambda s: s.epoch, default=None)


def is_settled(states: Sequence[NodeState]) -> bool:
    """Return whether all nodes that run follow one supernode, and it counts all of them."""
    running = [each for each in states if not each.end]
    leader = leader_of(running)
    if leader is None:
        return False
    return leader.members == len(running) and all(
        each.supernode_id == leader.node_id for each in running
    )


def names_of(states: Iterable[NodeState]) -> dict[str, str]:
    """Return the name of each node by its id."""
    return {each.node_id: each.name for each in states if each.node_id}


def as_fields(states: Sequence[NodeState], at: float) -> dict[str, Any]:
    """Return one line of --json."""
    return {"at": round(at, 3), "nodes": [asdict(each) for each in states]}


class Changes:
    """Tells what has changed since the last look; `now` is the monotonic clock."""

    def __init__(self) -> None:
        self._before: dict[str, NodeState] = {}
        self._lost_at: float | None = None  # the end of a supernode that nobody has replaced

    def take(self, states: Sequence[NodeState], now: float) -> list[str]:
        """Return a line for each node that has changed."""
        names = names_of(states)
        lines = []
        for state in states:
            before = self._before.get(state.name)
            self._before[state.name] = state
            if before is not None and _facts(before, names) == _facts(state, names):
                continue
            lines.append(f"{state.name}: {_facts(state, names)}")
            if before is not None and before.leads and not state.leads:
                self._lost_at = now
            elif state.leads and not (before is not None and before.leads):
                lines[-1] += self._taken_over(now)
        return lines

    def _taken_over(self, now: float) -> str:
        if self._lost_at is None:
            return ""
        took_s, self._lost_at = now - self._lost_at, None
        return f" (took over {took_s:.1f} s after the end of the supernode)"


def _facts(state: NodeState, names: Mapping[str, str]) -> str:
    if state.end:
        return f"gone, {state.end}"
    if not state.role:
        return "starts"
    words = [f"{state.role}, process {state.pid}"]
    if state.epoch:
        words.append(f"epoch {state.epoch}")
    if state.leads:
        nodes = "node" if state.members == 1 else "nodes"
        words.append(f"{state.members} {nodes}")
        order = ", ".join(names.get(each, each[:12]) for each in state.successors)
        words.append(f"successors {order or 'none'}")
    if state.uplink:
        words.append(f"uplink {state.uplink}")
    if state.node_id and state.node_id == state.sep_holder_id:
        words.append("holds the SEP")
    return ", ".join(words)
