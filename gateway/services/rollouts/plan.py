"""Decides which nodes of a roll-out get their container next, and when it stops.

Theory of operation
-------------------
    pending ──begin──► transferring ──transferred──► starting ──ready──► ready
                          │    └──────────────────────┤
                          ├──fail─────────────────────┴──fail──► failed ──retry──► pending
                          └──lose─────────────────────┴──lose──► unreachable ──begin──► …

The table EVENTS is the machine; an event that it does not hold is a fault of the caller. Six
rules hold after every call:

1. A wave begins when every node of the wave before it is ready, failed or unreachable.
2. When more nodes have failed than the bound allows, no node begins; those that have begun go on.
3. An unreachable node is no failure. It is tried again beside the waves: after 5 s, 10 s … 5 min,
   for as long as the roll-out is not cancelled.
4. At most RETRIES_AT_ONCE nodes are tried again at once.
5. A roll-out is done when every node is ready or failed, and waits when the rest is unreachable.
6. A restart of the coordinating node finds what had begun unreachable, and due at once.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

FIRST_RETRY_S, LONGEST_RETRY_S = 5.0, 300.0
RETRIES_AT_ONCE = 4


class RolloutNodeState(StrEnum):
    """The states of one node in a roll-out."""

    PENDING = "pending"
    TRANSFERRING = "transferring"
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    UNREACHABLE = "unreachable"


class RolloutEvent(StrEnum):
    """The events of one node in a roll-out."""

    BEGIN = "begin"
    TRANSFERRED = "transferred"
    READY = "ready"
    FAIL = "fail"
    LOSE = "lose"
    RETRY = "retry"


class RolloutState(StrEnum):
    """The states of a whole roll-out."""

    RUNNING = "running"
    WAITING = "waiting"  # for unreachable nodes
    STOPPED = "stopped"  # too many failures
    CANCELLED = "cancelled"
    DONE = "done"


_S, _E = RolloutNodeState, RolloutEvent
EVENTS: Mapping[tuple[RolloutNodeState, RolloutEvent], RolloutNodeState] = {
    (_S.PENDING, _E.BEGIN): _S.TRANSFERRING,
    (_S.UNREACHABLE, _E.BEGIN): _S.TRANSFERRING,
    (_S.TRANSFERRING, _E.TRANSFERRED): _S.STARTING,
    (_S.TRANSFERRING, _E.READY): _S.READY,
    (_S.TRANSFERRING, _E.FAIL): _S.FAILED,
    (_S.TRANSFERRING, _E.LOSE): _S.UNREACHABLE,
    (_S.STARTING, _E.READY): _S.READY,
    (_S.STARTING, _E.FAIL): _S.FAILED,
    (_S.STARTING, _E.LOSE): _S.UNREACHABLE,
    (_S.FAILED, _E.RETRY): _S.PENDING,
}
ACTIVE = (RolloutNodeState.TRANSFERRING, RolloutNodeState.STARTING)


@dataclass(frozen=True, slots=True)
class NodeProgress:
    """The state of one node in a roll-out."""

    node_id: str
    state: RolloutNodeState = RolloutNodeState.PENDING
    error: str = ""
    changed: float = 0.0  # unix seconds
    tries: int = 0  # in a row, at a node that was unreachable
    due: float = 0.0  # the time of the next attempt at an unreachable node


class RolloutPlan:
    """The nodes of one roll-out in their order."""

    def __init__(
        self,
        nodes: Iterable[NodeProgress],
        wave: int,
        failures_allowed: float,
        *,
        cancelled: bool = False,
    ) -> None:
        self._nodes = {node.node_id: node for node in nodes}
        self.wave, self.failures_allowed = max(1, wave), failures_allowed
        self.cancelled = cancelled

    @property
    def nodes(self) -> list[NodeProgress]:
        """The nodes in their order."""
        return list(self._nodes.values())

    @property
    def failures(self) -> int:
        """The number of nodes that have failed."""
        return self._count(RolloutNodeState.FAILED)

    @property
    def state(self) -> RolloutState:
        """The state of the whole."""
        if self.cancelled:
            return RolloutState.CANCELLED
        if self.failures > self.failures_allowed:
            return RolloutState.STOPPED
        settled = self._count(RolloutNodeState.READY) + self.failures
        if settled == len(self._nodes):
            return RolloutState.DONE
        if settled + self._count(RolloutNodeState.UNREACHABLE) == len(self._nodes):
            return RolloutState.WAITING
        return RolloutState.RUNNING

    @property
    def deadline(self) -> float | None:
        """The time at which take_starts() must be called, if nothing happens before."""
        if self.state not in (RolloutState.RUNNING, RolloutState.WAITING):
            return None
        if self._retrying >= RETRIES_AT_ONCE:  # the end of one of these comes first
            return None
        lost = RolloutNodeState.UNREACHABLE
        return min((n.due for n in self._nodes.values() if n.state is lost), default=None)

    def find(self, node_id: str) -> NodeProgress:
        """Return the progress of a node."""
        return self._nodes[node_id]

    def take_starts(self, now: float) -> list[str]:
        """Return, once, the nodes to begin with now."""
        if self.state not in (RolloutState.RUNNING, RolloutState.WAITING):
            return []
        nodes = self._nodes.values()
        due = [
            node.node_id for node in nodes
            if node.state is RolloutNodeState.UNREACHABLE and node.due <= now
        ]  # fmt: skip
        starts = due[: max(0, RETRIES_AT_ONCE - self._retrying)]
        if not any(node.state in ACTIVE and not node.tries for node in nodes):
            pending = [n.node_id for n in nodes if n.state is RolloutNodeState.PENDING]
            starts += pending[: self.wave]
        for node_id in starts:
            self._apply(node_id, RolloutEvent.BEGIN, now)
        return starts

    def transferred(self, node_id: str, now: float) -> None:
        """Note that a node has the image and starts the container."""
        self._apply(node_id, RolloutEvent.TRANSFERRED, now, tries=0)

    def ready(self, node_id: str, now: float) -> None:
        """Note that the container of a node is ready."""
        self._apply(node_id, RolloutEvent.READY, now, error="", tries=0)

    def failed(self, node_id: str, why: str, now: float) -> None:
        """Note that a node refused the container, or went back to what it had."""
        self._apply(node_id, RolloutEvent.FAIL, now, error=why)

    def lost(self, node_id: str, why: str, now: float) -> None:
        """Note that a node cannot be reached; it is tried again later."""
        tries = self._nodes[node_id].tries
        pause_s = min(FIRST_RETRY_S * 2 ** min(tries, 16), LONGEST_RETRY_S)
        self._apply(node_id, RolloutEvent.LOSE, now, error=why, tries=tries + 1, due=now + pause_s)

    def interrupt(self, now: float) -> None:
        """Note that the coordinating node was restarted: what had begun is tried again."""
        for node in self.nodes:
            if node.state in ACTIVE:
                why = "the coordinating node was restarted"
                self._apply(node.node_id, RolloutEvent.LOSE, now, error=why, due=now)
            elif node.state is RolloutNodeState.UNREACHABLE:
                self._nodes[node.node_id] = replace(node, due=now, tries=1)

    def cancel(self) -> None:
        """Begin with no further node."""
        self.cancelled = True

    def resume(self, now: float) -> None:
        """Go on after a stop or a cancellation; nodes that failed are tried again."""
        self.cancelled = False
        for node in self.nodes:
            if node.state is RolloutNodeState.FAILED:
                self._apply(node.node_id, RolloutEvent.RETRY, now, error="", tries=0)

    @property
    def _retrying(self) -> int:
        return sum(node.state in ACTIVE and node.tries > 0 for node in self._nodes.values())

    def _count(self, state: RolloutNodeState) -> int:
        return sum(node.state is state for node in self._nodes.values())

    def _apply(self, node_id: str, event: RolloutEvent, now: float, **changes: object) -> None:
        node = self._nodes[node_id]
        state = EVENTS.get((node.state, event))
        if state is None:
            raise ValueError(f"cannot {event} node {node_id}: it is {node.state}")
        self._nodes[node_id] = replace(node, state=state, changed=now, **changes)  # type: ignore[arg-type]  # fields of a node


def parse_share(text: str | int, nodes: int) -> float:
    """Return a number of nodes, given as a number or as a percentage of all.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(text, int) and not isinstance(text, bool) and text >= 0:
        return float(text)
    if isinstance(text, str) and text.endswith("%") and text[:-1].isdecimal():
        percent = int(text[:-1])
        if percent <= 100:
            return nodes * percent / 100
    raise ValueError(f'{text!r:.32} is neither a whole number nor a percentage such as "10%"')
