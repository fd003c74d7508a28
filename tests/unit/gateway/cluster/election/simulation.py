"""Simulates nodes on a network: elections, links, silence, and faults, on one clock."""

import heapq
import itertools
from collections.abc import Callable
from functools import partial

from gateway.cluster.election.heartbeat import Heartbeat, Role
from gateway.cluster.election.machine import Election
from gateway.cluster.election.rank import Rank
from gateway.cluster.election.sep_agreement import SepAgreement
from gateway.cluster.election.state import Timings

DELAY_S = 0.002
TIMINGS = Timings()


class SimulatedNode:
    """One node: its election, and whether it runs."""

    def __init__(self, node_id: str, now: float, rank: Rank, epoch: int) -> None:
        self.node_id, self.rank = node_id, rank
        self.election = Election(node_id, now, rank, epoch)
        self.sep = SepAgreement(node_id, now)
        self.sep.note_own_reach(True, now)
        self.is_alive, self.is_frozen = True, False
        self.last_sent: Heartbeat | None = None
        self.roles: list[tuple[float, Role, str, int]] = []
        self.epochs_followed: list[int] = []


class Network:
    """Nodes and which of them receive from which others."""

    def __init__(self, count: int = 0, ranks: dict[str, Rank] | None = None) -> None:
        self.now = 0.0
        self.nodes: dict[str, SimulatedNode] = {}
        self.cut: set[tuple[str, str]] = set()  # (from, to): what is sent is lost
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        for number in range(count):
            self.add("abcdefghijklmnopqrstuvwxyz"[number], (ranks or {}).get)

    def add(
        self, node_id: str, rank_of: Callable[[str], Rank | None] = lambda _: None, epoch: int = 0
    ) -> SimulatedNode:
        node = SimulatedNode(node_id, self.now, rank_of(node_id) or Rank(), epoch)
        self.nodes[node_id] = node
        self._after(0.0, lambda: self._beat(node))
        return node

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while self._queue and self._queue[0][0] <= until:
            self.now, _, call = heapq.heappop(self._queue)
            call()
        self.now = until

    # Faults ------------------------------------------------------------------------------------

    def kill(self, node_id: str) -> None:
        """End a process: its peers' links are reset at once."""
        self.nodes.pop(node_id).is_alive = False
        for peer in list(self.nodes.values()):
            self._after(DELAY_S, partial(self._lose, peer, node_id))

    def lose_power(self, node_id: str) -> None:
        """End a machine: its peers hear nothing."""
        self.nodes.pop(node_id).is_alive = False

    def split(self, *sides: str) -> None:
        """Cut the network between sides, such as "ab" and "c"."""
        for one, two in itertools.permutations(sides, 2):
            self.cut |= {(a, b) for a in one for b in two}

    def heal(self) -> None:
        self.cut.clear()

    def freeze(self, node_id: str) -> None:
        self.nodes[node_id].is_frozen = True

    def thaw(self, node_id: str) -> None:
        node = self.nodes[node_id]
        node.is_frozen = False
        node.election.tick(self.now)
        self._after(0.0, lambda: self._beat(node))

    # Reading -----------------------------------------------------------------------------------

    def supernodes(self) -> list[str]:
        return [i for i, n in self.nodes.items() if n.election.role is Role.SUPERNODE]

    def followed(self) -> set[str]:
        return {n.election.supernode_id for n in self.nodes.values()}

    def holders(self) -> set[str]:
        """Return whom the nodes take for the holder of the SEP."""
        return {n.sep.claim.holder_id for n in self.nodes.values()}

    def reach(self, node_id: str, *, reaches: bool) -> None:
        """Give a node a way of its own to the cloud, or take it."""
        self.nodes[node_id].sep.note_own_reach(reaches, self.now)

    def election(self, node_id: str) -> Election:
        return self.nodes[node_id].election

    # Events ------------------------------------------------------------------------------------

    def _after(self, seconds: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now + seconds, next(self._order), call))

    def _beat(self, node: SimulatedNode) -> None:
        if node.is_alive and not node.is_frozen:
            node.election.tick(self.now)
            self._send(node)
            self._after(TIMINGS.heartbeat, lambda: self._beat(node))

    def _send(self, node: SimulatedNode) -> None:
        heartbeat = node.last_sent = self._heartbeat(node)
        for peer in self.nodes.values():
            if peer is not node and (node.node_id, peer.node_id) not in self.cut:
                self._after(DELAY_S, partial(self._receive, peer, heartbeat))
        self._note(node)
        self._alarm(node)

    def _receive(self, node: SimulatedNode, heartbeat: Heartbeat) -> None:
        if node.is_alive and not node.is_frozen:
            node.election.hear(heartbeat, self.now)
            node.sep.hear(heartbeat, node.election.claim)
            self._changed(node)

    def _lose(self, node: SimulatedNode, peer: str) -> None:
        if node.is_alive and not node.is_frozen:
            node.election.lose(peer, self.now)
            self._changed(node)

    def _alarm(self, node: SimulatedNode) -> None:
        due = node.election.deadline()
        if due < self.now + TIMINGS.heartbeat:
            self._after(max(0.0, due - self.now) + 1e-6, lambda: self._wake(node))

    def _wake(self, node: SimulatedNode) -> None:
        if node.is_alive and not node.is_frozen:
            node.election.tick(self.now)
            self._changed(node)

    def _changed(self, node: SimulatedNode) -> None:
        """Send at once what differs from the last heartbeat, as a node does."""
        if self._heartbeat(node) != node.last_sent:
            self._send(node)

    def _heartbeat(self, node: SimulatedNode) -> Heartbeat:
        heard = node.election.heard
        node.sep.settle(node.election, [i for i in heard if i in self.nodes], self.now)
        return node.sep.complete(node.election.heartbeat(self.now), node.election)

    def _note(self, node: SimulatedNode) -> None:
        election = node.election
        entry = (election.role, election.supernode_id, election.claim.epoch)
        if not node.roles or node.roles[-1][1:] != entry:
            node.roles.append((self.now, *entry))
