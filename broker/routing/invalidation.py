"""Tracks changes of subscriptions and rights, so that a client drops only the routes that changed.

Theory of operation
-------------------
A route depends on the rights of its client, on hooks, and on the subscriptions that match its
topic: their sessions and their connections. So a change of one subscription concerns the topics
that its filter matches, and one of a session (its client comes or goes) those that any of its
filters matches; any other change concerns all. Each change is counted, and the filters of the last
ones are kept. Rules after every catch_up():

1. No route of the client is older than a change that concerns it.
2. Every receiver set that the client keeps for further routes belongs to one of its routes; so it
   is no older, and its sessions are alive.
3. The work was small: a client that missed too much, or has too many routes to compare, drops all.
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
MATCHES = 32  # filters times topics compared at once, at 1 us; to build a route takes 20 or 30


class RouteInvalidator:
    """Counts changes, and drops the routes that they concern."""

    def __init__(self) -> None:
        self.generation = 1
        self._latest: deque[str] = deque(maxlen=LATEST)  # filters, the newest last

    def note(self, topic_filter: str) -> None:
        """Note a change of the receivers of a filter."""
        self.generation += 1
        self._latest.append(topic_filter)

    def note_session(self, filters: Collection[str]) -> None:
        """Note a change of all filters of a session."""
        if len(filters) > LATEST:
            self.note_all()
        else:
            for each in filters:
                self.note(each)

    def note_all(self) -> None:
        """Note a change that may concern every route."""
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
