"""Locks by key: work on one key waits, work on different keys does not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class KeyedLocks:
    """A lock for each key that a task holds or waits for; no other key takes memory."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    def __len__(self) -> int:
        return len(self._locks)

    def is_held(self, key: str) -> bool:
        """Return whether a task holds the lock of a key or waits for it."""
        return key in self._locks

    @contextlib.asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        """Hold the lock of a key."""
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks.pop(key)
            if users > 1:
                self._locks[key] = lock, users - 1
