"""Chooses the ways to another node, and remembers those that have failed. Pure.

| the node is | ways, in this order |
|---|---|
| this one | in-process |
| a member of the cluster, with an address | LAN, then SEP if there is a cloud |
| a member without a known address, or a node of the account | SEP |
| a member whose LAN way has failed | SEP, then LAN, until RETRY; then LAN again |
| any other, for a bulk request | BEP before SEP |

A way that has failed comes after those that have not; it is never left out, because a wrong mark
would make a node unreachable.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 30.0
MARKS_LIMIT = 1024  # a mark that is forgotten costs one attempt


class Way(StrEnum):
    """A way to a node, the shortest first."""

    IN_PROCESS = "in-process"
    LAN = "lan"
    BEP = "bep"
    SEP = "sep"


@dataclass(frozen=True, slots=True)
class NodeReach:
    """The knowledge about a node that its ways depend on."""

    is_self: bool = False
    addresses: Sequence[str] = ()  # host:port of its cluster port; () for a node elsewhere
    has_cloud: bool = False
    failed: frozenset[Way] = frozenset()  # their next attempt is not due yet
    is_bulk: bool = False  # the request


@dataclass(frozen=True, slots=True)
class Route:
    """One way, and the reason for its place."""

    way: Way
    why: str


def find_routes(reach: NodeReach) -> list[Route]:
    """Return the ways to a node, the first to be tried first."""
    if reach.is_self:
        return [Route(Way.IN_PROCESS, "it is this node")]
    routes = []
    if reach.addresses:
        routes.append(Route(Way.LAN, f"it is a member of the cluster, at {reach.addresses[0]}"))
    if reach.has_cloud and reach.is_bulk:
        routes.append(Route(Way.BEP, "a tunnel of its own carries any size"))
    if reach.has_cloud:
        routes.append(Route(Way.SEP, "the cloud passes requests on"))
    late = [Route(r.way, f"{r.why}; it has just failed") for r in routes if r.way in reach.failed]
    return [route for route in routes if route.way not in reach.failed] + late


@dataclass(frozen=True, slots=True)
class _Mark:
    failures: int
    retry_at: float


class FailedWays:
    """The ways that have failed; `now` is the monotonic clock in seconds."""

    def __init__(self) -> None:
        self._marks: OrderedDict[tuple[str, Way], _Mark] = OrderedDict()

    def note_failure(self, node_id: str, way: Way, now: float) -> None:
        """Mark a way; the pause before its next attempt doubles with each failure."""
        before = self._marks.pop((node_id, way), None)
        failures = before.failures + 1 if before is not None else 1
        pause_s = min(FIRST_RETRY_S * 2 ** min(failures - 1, 8), LONGEST_RETRY_S)
        self._marks[node_id, way] = _Mark(failures, now + pause_s)
        if len(self._marks) > MARKS_LIMIT:
            self._marks.popitem(last=False)

    def note_success(self, node_id: str, way: Way) -> None:
        """Remove the mark of a way."""
        self._marks.pop((node_id, way), None)

    def failed(self, node_id: str, now: float) -> frozenset[Way]:
        """Return the ways to a node whose next attempt is not due."""
        marks = ((way, self._marks.get((node_id, way))) for way in Way)
        return frozenset(way for way, mark in marks if mark is not None and now < mark.retry_at)
