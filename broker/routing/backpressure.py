"""Holds senders while the store is behind, so that nobody is refused because a disk is slow.

Theory of operation
-------------------
What is not committed yet is in memory, so it has a bound. Well below that the store says that it
is behind: from then on a client whose next packet would add to it is not heard, and its socket not
read, until the store has caught up. Rules:

1. A held client's packet is not begun; what came of its input waits, and counts as incomplete.
2. Who was held first is heard first: a client keeps its place in line until a packet of its got
   through, however often the store falls behind meanwhile.
3. Packets that add nothing to the store are handled as ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from broker.quota.counters import BrokerCounters
    from broker.sessions.client import Client
    from broker.sessions.persistence import Persistence


class Backpressure:
    """The senders that are held."""

    __slots__ = ("_counters", "_persistence", "queue", "waiting")

    def __init__(self, persistence: Persistence, counters: BrokerCounters) -> None:
        self._persistence = persistence
        self._counters = counters
        # speed: both are looked at before anything is called, and are empty nearly always
        self.queue: dict[Client, None] = {}  # places, first come, first served
        self.waiting: set[Client] = set()  # of these, who is held now

    @property
    def is_on(self) -> bool:
        """Whether what must be stored has to wait."""
        return self._persistence.is_behind

    @property
    def is_over(self) -> bool:
        """Whether release() would let somebody go."""
        return bool(self.waiting) and not self._persistence.is_behind

    def hold(self, client: Client) -> None:
        """Let a client wait; it keeps the place it has."""
        self.queue[client] = None
        self.waiting.add(client)
        self._counters.senders_held += 1
        client.hold()

    def pass_through(self, client: Client) -> None:
        """A packet that is stored is handled: next time the client waits behind the others."""
        self.queue.pop(client, None)

    def leave(self, client: Client) -> None:
        """Forget one that has gone."""
        self.queue.pop(client, None)
        self.waiting.discard(client)

    def release(self, may_go: Callable[[Client], bool]) -> Iterator[Client]:
        """Yield who may be heard again, in line, once the store has caught up."""
        if not self.is_over:
            return
        waiting, self.waiting = self.waiting, set()
        for client in tuple(self.queue):
            if client not in waiting:  # what came next was not for the store
                del self.queue[client]
            elif may_go(client):
                client.release()
                yield client
