"""Decides which connections a server keeps.

Theory of operation
-------------------
A connection waits, for a request head or the rest of a body, or it works: its request is whole.
Four rules hold after every call:

1. There are at most limits.connections, and at most connections - reserved that are not from
   this machine: no peer elsewhere can lock this machine out.
2. One address has at most connections_per_address. This machine has no such bound.
3. A newcomer at a bound evicts the connection that has waited longest without progress, at the
   address that has most of them. A peer that sends its request at once is served, however many
   others are silent, send half a head or trickle a body.
4. Only when all work is a newcomer refused.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from web.addresses import address_key
from web.server.limits import HttpLimits

C = TypeVar("C")


@dataclass(slots=True)
class TableCounters:
    """The numbers of refused and evicted connections of one table."""

    refused: int = 0
    evicted: int = 0


class ConnectionTable(Generic[C]):
    """The connections of one server, by address or by another key of their peers."""

    def __init__(
        self,
        limits: HttpLimits,
        proxies: frozenset[str] = frozenset(),
        key_of: Callable[[str], str] = address_key,
    ) -> None:
        self._limits, self._proxies, self._key_of = limits, proxies, key_of
        self._keys: dict[C, str] = {}
        self._counts: dict[str, int] = {}
        self._waiting: dict[str, OrderedDict[C, None]] = {}  # the longest without progress first
        self.counters = TableCounters()

    def __len__(self) -> int:
        return len(self._keys)

    def all(self) -> list[C]:
        """Return all connections."""
        return list(self._keys)

    def enter(self, connection: C, peer: str) -> tuple[bool, C | None]:
        """Admit a connection, which waits; return whether it is admitted, and the evicted one."""
        key = "" if peer in self._proxies else self._key_of(peer)
        try:
            evicted = self._make_place(key)
        except LookupError:
            self.counters.refused += 1
            return False, None
        self._keys[connection] = key
        self._counts[key] = self._counts.get(key, 0) + 1
        self._waiting.setdefault(key, OrderedDict())[connection] = None
        return True, evicted

    def progress(self, connection: C) -> None:
        """Record that a connection waits, and has just made progress."""
        key = self._keys.get(connection)
        if key is not None:
            waiting = self._waiting.setdefault(key, OrderedDict())
            waiting[connection] = None
            waiting.move_to_end(connection)

    def work(self, connection: C) -> None:
        """Record that a connection's request is whole: it is no longer evicted."""
        key = self._keys.get(connection)
        if key is not None:
            self._drop_waiting(key, connection)

    def leave(self, connection: C) -> None:
        """Remove a connection; harmless for one that is not there."""
        key = self._keys.pop(connection, None)
        if key is None:
            return
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key]
        self._drop_waiting(key, connection)

    def _make_place(self, key: str) -> C | None:
        """Return the connection that a newcomer evicts, if any; LookupError when all work."""
        limits = self._limits
        if key and self._counts.get(key, 0) >= limits.connections_per_address:
            return self._evict((key,))
        strangers = len(self._keys) - self._counts.get("", 0)
        if key and strangers >= limits.connections - limits.reserved:
            return self._evict(tuple(k for k in self._waiting if k))
        if len(self._keys) >= limits.connections:
            return self._evict(tuple(self._waiting))
        return None

    def _evict(self, keys: tuple[str, ...]) -> C:
        largest = max((k for k in keys if k in self._waiting), key=lambda k: len(self._waiting[k]),
                      default=None)  # fmt: skip
        if largest is None:
            raise LookupError
        connection = next(iter(self._waiting[largest]))
        self.leave(connection)  # at once: a burst within one iteration of the loop counts it once
        self.counters.evicted += 1
        return connection

    def _drop_waiting(self, key: str, connection: C) -> None:
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.pop(connection, None)
            if not waiting:
                del self._waiting[key]
