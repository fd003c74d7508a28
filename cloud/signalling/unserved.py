"""Finds BEPs that are counted though no node serves them any more. Pure.

Theory of operation
-------------------
The store counts a BEP against its node's limit until it expires; the relay knows whether it is
served. After every call of find():

1. A BEP that was seen at the relay and is there no more has ended there: it is found at once.
2. A BEP that was never seen at the relay is found `limit_s` after it was first missed: its node
   is about to connect, or connects again because the relay has started.
3. Only BEPs that the store holds are remembered.
"""

from collections.abc import Collection

# above the longest pause of a node between two attempts (30 s) and the time to connect (10 s)
UNSERVED_S = 60.0


class Unserved:
    """Compares the store with the relay; `now` is a monotonic clock."""

    def __init__(self, limit_s: float = UNSERVED_S) -> None:
        self._limit_s = limit_s
        self._served: set[str] = set()
        self._missing: dict[str, float] = {}

    def find(self, stored: Collection[str], served: Collection[str], now: float) -> list[str]:
        """Return the stored BEPs to end."""
        missing = {i: self._missing.get(i, now) for i in stored if i not in served}
        found = [
            bep_id
            for bep_id, since in missing.items()
            if bep_id in self._served or now - since >= self._limit_s
        ]
        self._served = {bep_id for bep_id in stored if bep_id in served}
        self._missing = {bep_id: missing[bep_id] for bep_id in missing.keys() - set(found)}
        return found
