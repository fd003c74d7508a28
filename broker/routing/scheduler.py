"""Schedules client work fairly within one loop iteration.

Theory of operation
-------------------
Work is counted in units of about 20 us; plain packets cost next to none. The cost of a packet is
known when it is done, so a turn may be overdrawn: the client owes the rest and is not served before
later iterations have paid for it. (As deficit round robin, Shreedhar and Varghese 1996, but work is
paid for afterwards.) Rules:

1. One turn is at most TURN units and the packet that overdraws it. A debt shrinks by one unit with
   every iteration, and by what remains of its units, first come, first served.
2. All turns of one iteration are at most WAKE_UP units; after that a client that owes at most
   CREDIT units and has sent its CONNECT gets one unit more: clients that want little never wait
   behind those that want much.
3. All other clients wait in a queue.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from broker.sessions.client import NEW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.sessions.client import Client

TURN = 50
WAKE_UP = 100
CREDIT = 5  # a few packets of a client that seldom sends any


class Scheduler:
    """Grants turns to the clients of one broker."""

    __slots__ = ("_budget", "_granted", "_queue", "_wake_ups", "units_left")

    def __init__(self) -> None:
        self.units_left = 0  # of the current turn
        self._granted = 0
        self._wake_ups = 0
        self._budget = WAKE_UP
        self._queue: OrderedDict[Client, None] = OrderedDict()

    @property
    def has_waiting_clients(self) -> bool:
        """True when wake_up() has a client to serve."""
        return bool(self._queue)

    def spend(self, units: int) -> None:
        """Take units off the current turn."""
        self.units_left -= units

    def begin(self, client: Client) -> bool:
        """Begin a client's turn; return False when it has to wait."""
        if client in self._queue:
            return False
        if self._owes(client) or (self._budget <= 0 and client.state is NEW):
            self._queue[client] = None
            return False
        self._granted = self.units_left = TURN if self._budget > 0 else 1
        return True

    def end(self, client: Client) -> None:
        """End the turn; the units used are paid for, now or later."""
        if self.units_left < 0:
            client.paid_at = self._wake_ups - self.units_left
        self._budget -= self._granted - max(self.units_left, 0)

    def wait(self, client: Client) -> None:
        """Queue a client; harmless when it is queued."""
        self._queue[client] = None

    def leave(self, client: Client) -> None:
        """Forget a client whose connection has ended."""
        self._queue.pop(client, None)

    def wake_up(self) -> Iterator[Client]:
        """Yield queued clients whose turn may begin, within the units of this iteration."""
        self._wake_ups += 1
        self._budget = WAKE_UP
        for _ in range(len(self._queue)):
            client = next(iter(self._queue), None)
            if client is None:  # the queue is empty
                return
            if self._owes(client) or self._budget <= 0:
                return
            del self._queue[client]
            yield client

    def _owes(self, client: Client) -> bool:
        """Pay a client's debt as far as possible; return whether it still owes too much."""
        owed = client.paid_at - self._wake_ups
        if owed <= 0:
            return False
        paid = min(owed, max(self._budget, 0))
        self._budget -= paid
        client.paid_at -= paid
        return owed - paid > CREDIT
