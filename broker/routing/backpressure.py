"""Holds senders while the store is behind, so that no message is refused because a disk is slow.

Theory of operation
-------------------
Records that are not committed yet are in memory, so they have a bound. Well below that the store
reports that it is behind: from then on a client whose next packet would add to it is held, and its
socket is not read, until the store has caught up. Rules:

1. A held client's packet is not begun; its input waits, and counts as incomplete.
2. The client held first is released first: it keeps its place in the queue until one of its packets
   got through, however often the store falls behind meanwhile.
3. Packets that add nothing to the store are handled as usual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from broker.quota.counters import BrokerCounters
    from broker.sessions.client import Client
    from broker.sessions.persistence import Persistence


class Backpressure:
    """Keeps the senders that are held."""

    __slots__ = ("_counters", "_persistence", "queue", "waiting")

    def __init__(self, persistence: Persistence, counters: BrokerCounters) -> None:
        self._persistence = persistence
        self._counters = counters
        # speed: callers read both before they call; they are empty nearly always
        self.queue: dict[Client, None] = {}  # places, first come, first served
        self.waiting: set[Client] = set()  # of these, those held now

    @property
    def is_on(self) -> bool:
        """True when packets for the store have to wait."""
        return self._persistence.is_behind

    @property
    def is_over(self) -> bool:
        """True when release() would release a client."""
        return bool(self.waiting) and not self._persistence.is_behind

    def hold(self, client: Client) -> None:
        """Hold a client; it keeps its place in the queue."""
        self.queue[client] = None
        self.waiting.add(client)
        self._counters.senders_held += 1
        client.hold()

    def pass_through(self, client: Client) -> None:
        """Note that a packet was handled; next time the client is queued behind the others."""
        self.queue.pop(client, None)

    def leave(self, client: Client) -> None:
        """Forget a client whose connection has ended."""
        self.queue.pop(client, None)
        self.waiting.discard(client)

    def release(self, may_go: Callable[[Client], bool]) -> Iterator[Client]:
        """Yield the clients to serve again, in order, once the store has caught up."""
        if not self.is_over:
            return
        waiting, self.waiting = self.waiting, set()
        for client in tuple(self.queue):
            if client not in waiting:  # its next packet was not for the store
                del self.queue[client]
            elif may_go(client):
                client.release()
                yield client
