"""SEP requests of this replica that wait for an answer.

Theory of operation
-------------------
Three rules hold after every call:

1. At most `limit` requests are open, at most `limit_node` of them to one node.
2. Each request gets one answer at most, and only from where it was sent: the same node, by
   way of the same supernode, which is the one that the broker knows the sender to be.
3. Who opened a request closes it, whatever happened.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from protocol.envelope import Envelope, Kind
from protocol.topics import sep_response


class Full(Enum):
    """Why a request cannot be opened."""

    NODE = auto()
    REPLICA = auto()


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A request on its way; deliver is called with the answer, once."""

    message_id: bytes
    node_id: str
    supernode_id: str
    deliver: Callable[[Envelope], None]


class OpenRequests:
    """Matches answers to requests."""

    def __init__(self, replica: str, limit: int, limit_node: int) -> None:
        self._replica = replica
        self._limit, self._limit_node = limit, limit_node
        self._open: dict[bytes, OpenRequest] = {}
        self._per_node: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def address(self) -> str:
        """Return how envelopes name this replica."""
        return f"mss:{self._replica}"

    def add(self, request: OpenRequest) -> Full | None:
        """Open a request; return why not when there are too many."""
        if len(self._open) >= self._limit:
            return Full.REPLICA
        if self._per_node[request.node_id] >= self._limit_node:
            return Full.NODE
        self._open[request.message_id] = request
        self._per_node[request.node_id] += 1
        return None

    def close(self, request: OpenRequest) -> None:
        """Forget a request that add() opened."""
        del self._open[request.message_id]
        self._per_node[request.node_id] -= 1
        if not self._per_node[request.node_id]:
            del self._per_node[request.node_id]

    def answer(self, topic: str, sender: str, envelope: Envelope) -> bool:
        """Deliver an envelope to the request it answers; False when it answers none."""
        request = self._open.get(envelope.message_id)
        if (
            request is None
            or envelope.kind is not Kind.RESPONSE
            or envelope.to != self.address
            or envelope.sender != request.node_id
            or sender != request.supernode_id
            or topic != sep_response(request.supernode_id, request.node_id, self._replica)
        ):
            return False
        request.deliver(envelope)
        return True
