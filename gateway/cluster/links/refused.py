"""Remembers the nodes that were not admitted. Pure but for the log."""

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from gateway.limits.token_bucket import Rate, TokenBucket

logger = logging.getLogger(__name__)

LINES = Rate(burst=10, interval_s=10.0)  # of the log
REFUSED_LIMIT = 64  # pairs of a node and a reason; a stranger can make any number of node ids


@dataclass(frozen=True, slots=True)
class RefusedNode:
    """A node that was not admitted, or that does not admit this one."""

    node_id: str
    address: str
    reason: str
    at: float  # unix seconds, of the last time
    times: int = 1


class RefusedNodes:
    """The last refused nodes; the log names each once for each reason, but few at once."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last: OrderedDict[tuple[str, str], RefusedNode] = OrderedDict()
        self._lines, self._is_silent = TokenBucket(LINES), False
        self.count = 0  # of links

    def all(self) -> list[RefusedNode]:
        """Return the last ones, the newest at the end."""
        return list(self._last.values())

    def note(self, node_id: str, address: str, reason: str) -> None:
        """Note a node that this one does not admit."""
        self._note(node_id, address, reason, "refused node %.12s at %s: %s")

    def note_refusal(self, node_id: str, address: str, reason: str) -> None:
        """Note a node that does not admit this one."""
        why = f"it refuses this node, because: {reason}"
        self._note(node_id, address, why, "no link to node %.12s at %s: %s")

    def _note(self, node_id: str, address: str, reason: str, text: str) -> None:
        self.count += 1
        seen = self._last.pop((node_id, reason), None)
        times = seen.times + 1 if seen is not None else 1
        self._last[node_id, reason] = RefusedNode(node_id, address, reason, self._clock(), times)
        if len(self._last) > REFUSED_LIMIT:
            self._last.popitem(last=False)
        if seen is None and self._lines.take(self._clock()):
            self._is_silent = False
            logger.warning(text, node_id, address, reason)
            return
        logger.debug(text, node_id, address, reason)
        if seen is None and not self._is_silent:
            self._is_silent = True
            logger.warning("more nodes are refused than the log names: hecate nodes --refused")
