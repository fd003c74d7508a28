"""Keeps the lists of other nodes for a while, and asks anew when a node is missing in them.

A service that has just been deployed, or moved, is found at once: a search that finds nothing asks
for a list that is newer than the search. A rate bounds how often, so that a caller that looks
for a service which is nowhere does not make every request one to the cloud.
"""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.errors import UplinkError
from gateway.limits.token_bucket import Rate, TokenBucket
from protocol.records import NodeRecord


class KeptNodes:
    """One list of nodes.

    Args:
        fetch: asks for it; UplinkError when it cannot be had.
        kept_s: how long it is used.
        early: the rate of fetches before that time has passed.
        clock: counts seconds.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[list[NodeRecord]]],
        kept_s: float,
        early: Rate,
        clock: Callable[[], float],
    ) -> None:
        self._fetch, self._kept_s, self._early = fetch, kept_s, TokenBucket(early)
        self._clock = clock
        self._records: list[NodeRecord] = []
        self._asked_at = float("-inf")
        self._fault: tuple[UplinkError, float] | None = None  # of the last fetch
        self._one_at_a_time = asyncio.Lock()  # later callers share the outcome

    async def get(self, newer_than: float | None = None) -> list[NodeRecord]:
        """Return the records, newer than a time if that is allowed."""
        began = self._clock()
        async with self._one_at_a_time:
            if self._fault is not None and self._fault[1] >= began:
                raise self._fault[0]
            now = self._clock()
            is_kept = now < self._asked_at + self._kept_s
            if is_kept and newer_than is not None and self._asked_at < newer_than:
                is_kept = not self._early.take(now)
            if not is_kept:
                self._fault = None
                try:
                    self._records = await self._fetch()
                except UplinkError as exc:
                    self._fault = exc, now
                    raise
                self._asked_at = now
            return self._records
