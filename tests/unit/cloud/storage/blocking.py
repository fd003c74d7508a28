"""Calls a store from tests that have no event loop."""

import asyncio
from typing import Any, Protocol

from cloud.storage.ports import CloudStore


class CloseableStore(CloudStore, Protocol):
    """A store that can be closed."""

    def close(self) -> None:
        """Close the store."""


class Blocking:
    """A store whose methods wait for their result."""

    def __init__(self, store: CloseableStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        """Return a method that runs the store's method to its end."""
        method = getattr(self._store, name)
        return lambda *args, **kwargs: asyncio.run(method(*args, **kwargs))
