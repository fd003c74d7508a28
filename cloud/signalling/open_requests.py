"""Matches answers to the SEP requests of this replica that wait for one.

Theory of operation
-------------------
Three rules hold after every call:

1. At most `limit` requests are open, at most `limit_node` of them to one node. Of one caller
   there are fewer, so that one alone cannot keep all others from a node or from the cloud.
2. Each request gets one answer at most, and only from the node to which it was sent, through the
   same SEP holder, which the broker has authenticated as the sender.
3. The code that opened a request closes it, whatever happened.
4. When a SEP holder's connection is lost, every request that was sent through it is notified.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from protocol.envelope import Envelope, EnvelopeKind
from protocol.topics import sep_response


class Full(Enum):
    """The reasons for refusing to open a request."""

    NODE = auto()
    CALLER = auto()
    REPLICA = auto()


@dataclass(frozen=True, slots=True)
class CallerLimits:
    """The number of requests of one caller that may be open."""

    all_nodes: int
    one_node: int


UNLIMITED = CallerLimits(2**31, 2**31)


def _ignore() -> None:
    """Ignore the loss of a holder."""


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A request without an answer; either deliver is called, with the answer, or lost, once."""

    message_id: bytes
    node_id: str
    holder_id: str
    deliver: Callable[[Envelope], None]
    caller: str = ""
    lost: Callable[[], None] = _ignore  # called when its holder's connection is lost


class OpenRequests:
    """Matches answers to requests."""

    def __init__(
        self, replica: str, limit: int, limit_node: int, limit_caller: CallerLimits = UNLIMITED
    ) -> None:
        self._replica = replica
        self._limit, self._limit_node, self._limit_caller = limit, limit_node, limit_caller
        self._open: dict[bytes, OpenRequest] = {}
        self._counts: Counter[tuple[str, ...]] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def address(self) -> str:
        """Return the name of this replica in envelopes."""
        return f"mss:{self._replica}"

    def add(self, request: OpenRequest) -> Full | None:
        """Open a request; return the reason for refusing it when there are too many."""
        if len(self._open) >= self._limit:
            return Full.REPLICA
        counted = _counted(request)
        node, caller, pair, _ = counted
        if self._counts[node] >= self._limit_node:
            return Full.NODE
        limits = self._limit_caller
        if self._counts[caller] >= limits.all_nodes or self._counts[pair] >= limits.one_node:
            return Full.CALLER
        self._open[request.message_id] = request
        self._counts.update(counted)
        return None

    def close(self, request: OpenRequest) -> None:
        """Close a request that add() opened."""
        del self._open[request.message_id]
        for each in _counted(request):
            self._counts[each] -= 1
            if not self._counts[each]:
                del self._counts[each]

    def holder_lost(self, holder_id: str) -> None:
        """Notify all requests that were sent through a SEP holder of its loss."""
        if not self._counts["holder", holder_id]:
            return  # most disconnects concern no request
        for request in tuple(self._open.values()):
            if request.holder_id == holder_id:
                request.lost()

    def answer(self, topic: str, sender: str, envelope: Envelope) -> bool:
        """Deliver an envelope to the request it answers; False when it answers none."""
        request = self._open.get(envelope.message_id)
        if (
            request is None
            or envelope.kind is not EnvelopeKind.RESPONSE
            or envelope.to != self.address
            or envelope.sender != request.node_id
            or sender != request.holder_id
            or topic != sep_response(request.holder_id, request.node_id, self._replica)
        ):
            return False
        request.deliver(envelope)
        return True


def _counted(request: OpenRequest) -> tuple[tuple[str, ...], ...]:
    node, caller, via = request.node_id, request.caller, ("holder", request.holder_id)
    return ("node", node), ("caller", caller), ("both", node, caller), via
