"""Calls a store from tests that have no event loop."""

import asyncio
from typing import Any

from cloud.storage.sqlite import SqliteCloudStore


class Blocking:
    """A store whose methods wait for their result."""

    def __init__(self, store: SqliteCloudStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        """Return a method that runs the store's method to its end."""
        method = getattr(self._store, name)
        if name == "close":
            return method
        return lambda *args, **kwargs: asyncio.run(method(*args, **kwargs))
