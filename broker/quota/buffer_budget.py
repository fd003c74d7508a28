"""Bounds the memory that peers make the broker hold: unread output, incomplete packets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from broker.quota.limits import Limits


class BufferOwner(Protocol):
    """A connection with buffers."""

    @property
    def unread_bytes(self) -> int:
        """The bytes of output that the peer has not read."""

    @property
    def incomplete_bytes(self) -> int:
        """The bytes held of an incomplete packet."""

    def pause(self) -> None:
        """Treat the peer as slow until it has read everything."""

    def refuse(self, reason: str) -> None:
        """Close the connection, and count the reason."""


class BufferBudget:
    """Enforces the totals over all peers."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._backed_up: set[BufferOwner] = set()
        self._incomplete: dict[BufferOwner, int] = {}  # as last noted
        self._incomplete_total = 0

    def note_unread(self, peer: BufferOwner) -> None:
        """Note that a peer has unread bytes; beyond the total all such peers count as slow."""
        limits, backed_up = self._limits, self._backed_up
        backed_up.add(peer)
        if len(backed_up) * limits.output_bytes <= limits.output_bytes_total:
            return
        for each in tuple(backed_up):
            if not each.unread_bytes:
                backed_up.discard(each)
        if sum(each.unread_bytes for each in backed_up) > limits.output_bytes_total:
            for each in backed_up:
                each.pause()

    def note_incomplete(self, peer: BufferOwner) -> None:
        """Note an incomplete packet; beyond the total the peer with the longest is refused."""
        self._note(peer)
        limit = self._limits.incomplete_bytes_total
        if self._incomplete_total > limit:
            for each in tuple(self._incomplete):  # some were completed meanwhile
                self._note(each)
        while self._incomplete_total > limit:
            longest = max(self._incomplete, key=self._incomplete.__getitem__)
            self._incomplete_total -= self._incomplete.pop(longest)
            longest.refuse("incomplete_bytes_total")

    def has_room(self, size: int) -> bool:
        """True when a packet of this size may be given a buffer before it arrives."""
        return self._incomplete_total + size <= self._limits.incomplete_bytes_total // 2

    def forget(self, peer: BufferOwner) -> None:
        """Forget a connection that is closed."""
        self._backed_up.discard(peer)
        self._incomplete_total -= self._incomplete.pop(peer, 0)

    def _note(self, peer: BufferOwner) -> None:
        incomplete = peer.incomplete_bytes
        self._incomplete_total += incomplete - self._incomplete.pop(peer, 0)
        if incomplete:
            self._incomplete[peer] = incomplete
