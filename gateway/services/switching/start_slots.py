"""Bounds how many containers start at once when the gateway starts.

Each start imports for a second of processor time; all at once would make every one of them late.
A start that hangs gives its place up after HOLD_S, so that it delays no other for longer.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

HOLD_S = 5.0


class StartSlots:
    """So many places; starts beyond them wait in the order of their arrival."""

    def __init__(self, places: int, hold_s: float = HOLD_S) -> None:
        self._semaphore, self._hold_s = asyncio.Semaphore(places), hold_s

    @contextlib.asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        """Hold a place until the end of the block, or for hold_s."""
        await self._semaphore.acquire()
        timer = asyncio.get_running_loop().call_later(self._hold_s, self._semaphore.release)
        try:
            yield
        finally:
            if asyncio.get_running_loop().time() < timer.when():
                timer.cancel()
                self._semaphore.release()
