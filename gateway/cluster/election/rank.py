"""Orders nodes for the election. Pure.

The order is total: settled before flapping, stationary before mobile, higher capability, longer
uptime by class, then the lower node id. Uptime counts by class, so that the order of two nodes
that started seconds apart does not depend on which of them is asked.
"""

from collections import deque
from dataclasses import dataclass

UPTIME_CLASSES_S = (60.0, 600.0, 3600.0, 86_400.0)
CAPABILITY_LIMIT = 1000

FLAPS = 4  # so many losses of the supernode or of the role …
FLAP_WINDOW_S = 60.0  # … within this time make a node flap
PENALTY_S = 120.0  # a node that flaps comes last for so long


@dataclass(frozen=True, slots=True)
class Rank:
    """The qualities of a node that count in an election."""

    is_stationary: bool = True
    capability: int = 100  # configured, 0 to CAPABILITY_LIMIT
    uptime_class: int = 0  # the number of UPTIME_CLASSES_S that have passed
    is_settled: bool = True


def order_key(rank: Rank, node_id: str) -> tuple[bool, bool, int, int, tuple[int, ...]]:
    """Return the key by which nodes are ordered; the greatest is the best."""
    reversed_id = tuple(-ord(character) for character in node_id)
    return rank.is_settled, rank.is_stationary, rank.capability, rank.uptime_class, reversed_id


def classify_uptime(uptime_s: float) -> int:
    """Return the class of an uptime in seconds."""
    return sum(uptime_s >= limit for limit in UPTIME_CLASSES_S)


class FlapGuard:
    """Remembers how often this node lost its supernode or its role."""

    def __init__(self) -> None:
        self._losses: deque[float] = deque(maxlen=FLAPS)
        self._penalty_until = float("-inf")

    def note_loss(self, now: float) -> None:
        """Note one loss."""
        self._losses.append(now)
        if len(self._losses) == FLAPS and now - self._losses[0] <= FLAP_WINDOW_S:
            self._penalty_until = now + PENALTY_S

    def is_settled(self, now: float) -> bool:
        """Return whether this node may rank by its qualities."""
        return now >= self._penalty_until
