"""Remembers the last heartbeat of each peer, and which peers can be reached both ways. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.cluster.election.heartbeat import Heartbeat, Role


@dataclass(frozen=True, slots=True)
class HeardPeer:
    """The last heartbeat of a peer and its time."""

    last: Heartbeat
    heard_at: float  # seconds of the monotonic clock


class Peers:
    """The peers that this node hears; at most `limit`."""

    def __init__(self, node_id: str, silence_s: float, limit: int) -> None:
        self._node_id, self._silence_s, self._limit = node_id, silence_s, limit
        self._heard: dict[str, HeardPeer] = {}
        self._supernode_ids: set[str] = set()  # a look at all peers at each heartbeat is too much

    def hear(self, heartbeat: Heartbeat, now: float) -> bool:
        """Note a heartbeat; return False when there are too many peers."""
        if heartbeat.node_id not in self._heard and len(self._heard) >= self._limit:
            return False
        self._heard[heartbeat.node_id] = HeardPeer(heartbeat, now)
        if heartbeat.role is Role.SUPERNODE:
            self._supernode_ids.add(heartbeat.node_id)
        else:
            self._supernode_ids.discard(heartbeat.node_id)
        return True

    def lose(self, node_id: str) -> None:
        """Forget a peer whose link has ended."""
        self._heard.pop(node_id, None)
        self._supernode_ids.discard(node_id)

    def expire(self, now: float) -> list[str]:
        """Forget peers that are silent for too long; return their ids."""
        silent = [i for i, p in self._heard.items() if now - p.heard_at > self._silence_s]
        for node_id in silent:
            self.lose(node_id)
        return silent

    def next_expiry(self) -> float:
        """Return when the next peer will have been silent for too long; infinity without peers."""
        oldest = min((p.heard_at for p in self._heard.values()), default=float("inf"))
        return oldest + self._silence_s

    @property
    def heard(self) -> frozenset[str]:
        """The ids of the peers that this node hears."""
        return frozenset(self._heard)

    def get(self, node_id: str) -> Heartbeat | None:
        """Return the last heartbeat of a peer that is reached both ways."""
        peer = self._heard.get(node_id)
        return peer.last if peer is not None and self._node_id in peer.last.hears else None

    def supernodes(self) -> Iterator[Heartbeat]:
        """Yield the last heartbeats of supernodes that are reached both ways."""
        for node_id in self._supernode_ids:
            heartbeat = self.get(node_id)
            if heartbeat is not None:
                yield heartbeat

    def reached(self, since: float = float("-inf")) -> Iterator[Heartbeat]:
        """Yield the last heartbeats of peers reached both ways, heard after a time."""
        for peer in self._heard.values():
            if self._node_id in peer.last.hears and peer.heard_at > since:
                yield peer.last

    def one_way(self) -> frozenset[str]:
        """Return the peers that this node hears, but that do not hear it."""
        return frozenset(i for i, p in self._heard.items() if self._node_id not in p.last.hears)
