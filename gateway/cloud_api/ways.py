"""Chooses the way to the cloud: a direct one, or through the node that holds the SEP. Pure.

| direct way | holder | way |
|---|---|---|
| has not failed, or its next attempt is due | any | direct |
| has failed | another node, which has not failed | through it |
| has failed | none, or it has failed as well | direct |

Each failure after a pause doubles the next pause. A part of it is random: all nodes of a site lose
their direct way at the same moment. `now` is the monotonic clock in seconds.
"""

import random
from collections.abc import Callable

FIRST_RETRY_S, LONGEST_RETRY_S = 5.0, 30.0
HOLDER_RETRY_S = 1.0  # it may just have become the holder
LEAST = 0.7  # of a pause; a probe too soon costs the seconds in which the other way works
NEVER = float("inf")
DIRECT = ""  # in the place of the id of the node that a way goes through


class WayChoice:
    """The ways of this node, and which of them have failed.

    Args:
        find_holder: returns the id of another node through which the cloud may be reached, or "".
        rng: of this node alone, for pauses.
    """

    def __init__(
        self, find_holder: Callable[[], str] = lambda: "", rng: random.Random | None = None
    ) -> None:
        self._find_holder = find_holder
        self._rng = rng or random.Random()  # noqa: S311  # spreads attempts
        self._failures: dict[str, int] = {}
        self._retry_at: dict[str, float] = {}
        self.via = DIRECT  # the way of the last choice

    def __str__(self) -> str:
        return f"through {self.via}" if self.via else "direct"

    def choose(self, now: float) -> str:
        """Return the node that the next connection goes through; DIRECT for none."""
        holder_id = self._find_holder()
        self.via = holder_id if self._is_marked(DIRECT, now) and holder_id else DIRECT
        if self.via and self._is_marked(self.via, now):
            self.via = DIRECT
        return self.via

    def failed(self, via: str, now: float) -> None:
        """Note that a way has failed; again and again within one pause counts once."""
        if self._is_marked(via, now):
            return
        failures = self._failures.get(via, 0)
        first_s = HOLDER_RETRY_S if via else FIRST_RETRY_S
        pause_s = min(first_s * 2 ** min(failures, 8), LONGEST_RETRY_S)
        if via:  # of several holders, only the last one is of use
            for other in [other for other in self._retry_at if other not in (DIRECT, via)]:
                del self._retry_at[other], self._failures[other]
        pause_s *= self._rng.uniform(LEAST, 1.0)
        self._failures[via], self._retry_at[via] = failures + 1, now + pause_s

    def worked(self, via: str) -> None:
        """Note that a way works."""
        self._failures.pop(via, None)
        self._retry_at.pop(via, None)

    def retry_direct(self) -> None:
        """Let the next connection be direct: a probe has found that way open."""
        self._retry_at.pop(DIRECT, None)

    def has_holder(self, now: float) -> bool:
        """Return whether a way through another node is left to be tried."""
        return self.holder_in_s(now) == 0.0

    def holder_in_s(self, now: float) -> float:
        """Return how long no way through another node is tried; infinity without one."""
        holder_id = self._find_holder()
        return max(0.0, self._retry_at.get(holder_id, now) - now) if holder_id else NEVER

    def direct_in_s(self, now: float) -> float:
        """Return how long the direct way is not tried again; 0 when it may be."""
        return max(0.0, self._retry_at.get(DIRECT, now) - now)

    def _is_marked(self, via: str, now: float) -> bool:
        return now < self._retry_at.get(via, now)
