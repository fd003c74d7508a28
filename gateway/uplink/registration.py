"""Tells when the record of this node is due at the cloud.

Changes that come close together make one registration. After a take-over all members of a cluster
register anew: each waits for a random part of a time that grows with their number, so that the
cloud gets a steady number a second and not all at once ("full jitter", gateway/backoff.py).
"""

import asyncio
import random

SETTLE_S = 0.1  # one registration covers all changes within this time
AGAIN_S = 12 * 3600.0  # a signed record is valid for a day
# 200 registrations a second of one cluster. A cluster above that size takes the same second: within
# two of a take-over, the cloud has to reach all nodes through the new holder of the SEP.
SPREAD_OF_NODE_S, SPREAD_CAP_S = 0.005, 1.0


def spread_of(nodes: int) -> float:
    """Return the time over which so many nodes spread what they do at the same moment."""
    return min(nodes * SPREAD_OF_NODE_S, SPREAD_CAP_S)


class DueRegistration:
    """Changes of the record, and the time to wait after them."""

    def __init__(self, rng: random.Random) -> None:
        self._rng, self._spread_s = rng, 0.0
        self._changed = asyncio.Event()

    def request(self, spread_s: float = 0.0) -> None:
        """Note that the record has changed, as that of others within spread_s."""
        self._spread_s = max(self._spread_s, spread_s)
        self._changed.set()

    def begin(self) -> None:
        """Note that the record is being registered, with all changes so far."""
        self._spread_s = 0.0
        self._changed.clear()

    async def wait(self) -> None:
        """Return when the record is due."""
        try:
            async with asyncio.timeout(AGAIN_S):
                await self._changed.wait()
        except TimeoutError:
            pass
        await asyncio.sleep(SETTLE_S)
        await asyncio.sleep(self._rng.uniform(0.0, self._spread_s))
