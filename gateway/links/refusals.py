"""Limits the sessions that strangers may begin, for each link. Pure.

A link that brought BURST sessions without a good key waits RETRY_S for each further one; a session
that is proved forgives all. A hello that has to wait is not answered: the device tries again.
"""

from collections import OrderedDict

BURST = 5
RETRY_S = 10.0
REMEMBERED = 256  # links; beyond, the least recent one is forgotten


class RefusalLimiter:
    """The tries that each link has left, by its name."""

    def __init__(self) -> None:
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def may_try(self, link: str, now: float) -> bool:
        """Return whether a session may begin now."""
        return self._tries(link, now) >= 1.0

    def refuse(self, link: str, now: float) -> None:
        """Note a session without a good key."""
        left = max(self._tries(link, now) - 1.0, 0.0)
        self._left.pop(link, None)
        self._left[link] = (left, now)
        if len(self._left) > REMEMBERED:
            self._left.popitem(last=False)

    def forgive(self, link: str) -> None:
        """Note a session with a good key."""
        self._left.pop(link, None)

    def _tries(self, link: str, now: float) -> float:
        left, then = self._left.get(link, (float(BURST), now))
        return min(left + (now - then) / RETRY_S, float(BURST))
