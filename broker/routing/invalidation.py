"""Tracks changes of subscriptions and rights, so that a client drops only the routes that changed.

Theory of operation
-------------------
A route hangs on the rights of its client, on hooks, and on the subscriptions that match its topic:
who holds them, and by which connection. So a change of one subscription concerns the topics that
its filter matches, and one of a session (its client comes or goes) those that any of its filters
matches; whatever else changes concerns all. Each change is counted, and the filters of the last
ones are kept. Rules after every catch_up():

1. No route of the client is older than a change that concerns it.
2. Every outlet that the client keeps for further routes belongs to one of its routes; so it is no
   older, and whoever it names is alive.
3. The work was small: who missed too much, or has too many routes to compare, learns all anew.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from broker.messages.topics import has_wildcard, is_match, strip_share

if TYPE_CHECKING:
    from collections.abc import Collection

    from broker.sessions.client import Client

LATEST = 16  # changes that are kept
MATCHES = 32  # filters times topics compared in one go, at 1 us; to learn a route takes 20 or 30


class RouteInvalidator:
    """Counts changes; tells a client's routes what they missed."""

    def __init__(self) -> None:
        self.generation = 1
        self._latest: deque[str] = deque(maxlen=LATEST)  # filters, the newest last

    def note(self, topic_filter: str) -> None:
        """Note a change of the receivers of a filter."""
        self.generation += 1
        self._latest.append(topic_filter)

    def note_session(self, filters: Collection[str]) -> None:
        """The same for all filters of a session."""
        if len(filters) > LATEST:
            self.note_all()
        else:
            for each in filters:
                self.note(each)

    def note_all(self) -> None:
        """Anything may be different."""
        self.generation += 1
        self._latest.clear()

    def catch_up(self, client: Client) -> None:
        """Drop the routes that a change concerns."""
        missed = self.generation - client.generation
        client.generation = self.generation
        if not client.routes:
            return
        if missed > len(self._latest):
            client.forget_routes()
            return
        filters = {strip_share(each) for each in islice(reversed(self._latest), missed)}
        wild = [each for each in filters if has_wildcard(each)]
        if len(wild) * len(client.routes) > MATCHES:
            client.forget_routes()
            return
        concerned = {each.encode(errors="replace") for each in filters.difference(wild)}
        for name, route in client.routes.items():
            if any(is_match(each, route.topic) for each in wild):
                concerned.add(name)
        client.drop_routes(concerned)
