"""Ends waits after a time, and when the cloud stops."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from cloud.errors import ProblemError


class BoundedWait:
    """Holds all waits of this process, so that it can end them."""

    def __init__(self) -> None:
        self._waits: set[asyncio.Timeout] = set()
        self._stopped = False

    @asynccontextmanager
    async def within(self, limit_s: float, late: ProblemError) -> AsyncIterator[None]:
        """Raise a problem in a block that exceeds its time, or when the cloud stops."""
        if self._stopped:
            raise _stopping()
        try:
            async with asyncio.timeout(limit_s) as wait:
                self._waits.add(wait)
                try:
                    yield
                finally:
                    self._waits.discard(wait)
        except TimeoutError as exc:
            raise (_stopping() if self._stopped else late) from exc

    def stop(self) -> None:
        """End all waits now, and refuse new ones."""
        self._stopped = True
        now = asyncio.get_running_loop().time()
        for wait in self._waits:
            if not wait.expired():
                wait.reschedule(now)


def _stopping() -> ProblemError:
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "cannot wait for the node: the cloud stops")
