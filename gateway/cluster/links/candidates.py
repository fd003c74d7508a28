"""Remembers where other nodes may be found. Pure; nothing here is trusted.

A candidate comes from the configuration, from DNS-SD, or from a peer. Only the handshake with its
address shows who is there.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

CANDIDATES_LIMIT = 64  # of those that are not connected; a stranger can announce any number
ADDRESSES_LIMIT = 8
FORGET_S = 600.0


@dataclass(slots=True)
class Candidate:
    """The addresses of one node, the newest first."""

    addresses: tuple[str, ...]
    seen_at: float
    failures: int = 0
    not_before: float = 0.0  # of the next attempt


FIRST_DELAY_S, DELAY_CAP_S = 0.25, 10.0


class Candidates:
    """The addresses of nodes; those without an id have their address as the key."""

    def __init__(self, node_id: str, configured: Iterable[str] = ()) -> None:
        self._node_id = node_id
        self._configured = {address: Candidate((address,), 0.0) for address in configured}
        self._led_to: dict[str, str] = {}  # the node found last at a configured address
        self._named: OrderedDict[str, Candidate] = OrderedDict()
        self.refused = 0  # hints beyond the limit

    def note(
        self, node_id: str, addresses: Collection[str], now: float, kept: Collection[str] = ()
    ) -> None:
        """Note addresses of a node; the oldest candidate makes room, unless it is in `kept`."""
        if node_id == self._node_id or not addresses:
            return
        known = self._named.get(node_id)
        if known is None:
            if len(self._named) >= CANDIDATES_LIMIT and not self._make_room(kept):
                self.refused += 1
                return
            self._named[node_id] = Candidate(tuple(addresses)[:ADDRESSES_LIMIT], now)
            return
        merged = dict.fromkeys((*addresses, *known.addresses))
        if set(addresses) - set(known.addresses):
            known.failures, known.not_before = 0, now  # a new address is tried at once
        known.addresses, known.seen_at = tuple(merged)[:ADDRESSES_LIMIT], now
        self._named.move_to_end(node_id)

    def reached(self, node_id: str, address: str, now: float) -> None:
        """Note that an address led to a node."""
        self.note(node_id, (address,), now)
        if address in self._configured:
            self._led_to[address] = node_id
        for candidate in (self._named.get(node_id), self._configured.get(address)):
            if candidate is not None:
                candidate.failures, candidate.not_before = 0, now

    def failed(self, key: str, now: float) -> None:
        """Note that a candidate was not reached; the next attempt waits."""
        candidate = self._named.get(key) or self._configured.get(key)
        if candidate is not None:
            candidate.failures += 1
            delay_s = FIRST_DELAY_S * 2 ** min(candidate.failures - 1, 16)
            candidate.not_before = now + min(delay_s, DELAY_CAP_S)

    def addresses(self, node_id: str) -> tuple[str, ...]:
        """Return the addresses of a node."""
        candidate = self._named.get(node_id)
        return candidate.addresses if candidate is not None else ()

    def due(
        self, now: float, linked: Collection[str], at: Collection[str]
    ) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """Yield the key, the expected id and the addresses of candidates to dial now.

        Args:
            now: the monotonic clock in seconds.
            linked: the ids of nodes with a link.
            at: the addresses of those links.
        """
        self._forget(now, linked)
        for node_id, candidate in list(self._named.items()):
            if node_id not in linked and now >= candidate.not_before:
                yield node_id, node_id, candidate.addresses
        for address, candidate in self._configured.items():
            is_linked = address in at or self._led_to.get(address) in linked
            if not is_linked and now >= candidate.not_before:
                yield address, "", candidate.addresses

    def _make_room(self, kept: Collection[str]) -> bool:
        oldest = next((node_id for node_id in self._named if node_id not in kept), None)
        if oldest is not None:
            del self._named[oldest]
        return oldest is not None

    def _forget(self, now: float, linked: Collection[str]) -> None:
        for node_id, candidate in list(self._named.items()):
            if now - candidate.seen_at > FORGET_S and node_id not in linked:
                del self._named[node_id]
