"""Simulates elections over links that come and go, on clocks of their own, with random faults.

The simulation of the unit tests gives each node a clean way to all others. Here a message needs a
link, as between real nodes: nodes dial whom their role needs, end links that they do not need, tell
a peer only whether that peer and the supernode are heard, and notice a dead way after seconds.
Messages are lost, delayed and repeated, clocks jump, reach is one-way or not transitive.
"""

import heapq
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from gateway.cluster.election.heartbeat import Heartbeat, Role
from gateway.cluster.election.machine import Election
from gateway.cluster.election.rank import Rank
from gateway.cluster.election.state import Timings

STANDBY = 2  # successors that a member keeps links to, as gateway/cluster/links/peering.py
LOOK_S, PRUNE_S = 0.25, 5.0  # of a node, for peers to dial, and for links that it does not need
DEAD_WAY_S = 3.0  # until the kernel tells that nothing is acknowledged
TIMINGS = Timings()


@dataclass(slots=True)
class Faults:
    """The faults of the network as a whole."""

    loss: float = 0.0  # part of the messages
    repeats: float = 0.0
    delay_s: float = 0.002  # at most


@dataclass(slots=True)
class RandomNode:
    """One node and its clock."""

    node_id: str
    election: Election
    ahead_s: float
    is_alive: bool = True
    is_frozen: bool = False
    sent: Heartbeat | None = None
    roles: list[tuple[float, Role, str, int]] = field(default_factory=list)


class RandomNetwork:
    """Nodes, the ways between them, and the links over those ways."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.faults = Faults()
        self.nodes: dict[str, RandomNode] = {}
        self.cut: set[tuple[str, str]] = set()  # (from, to): nothing arrives
        self.doubled_s = 0.0  # the longest time for which two in reach led with one epoch
        self._links: dict[frozenset[str], str] = {}  # the node that dialled each
        # of the last message: TCP keeps the order
        self._arrivals: dict[tuple[str, str], float] = {}
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._doubles: dict[tuple[str, str, int], float] = {}
        self._after(LOOK_S, self._look)
        self._after(PRUNE_S, self._prune)

    # Nodes and faults ---------------------------------------------------------------------------

    def start(self, node_id: str, rank: Rank, epoch: int = 0) -> None:
        """Start a node that is not there."""
        if node_id in self.nodes:
            return
        ahead_s = self.rng.choice((0.0, 1.0, 1e6)) * self.rng.random()
        election = Election(node_id, self.now + ahead_s, rank, epoch)
        node = self.nodes[node_id] = RandomNode(node_id, election, ahead_s)
        self._after(0.0, partial(self._beat, node))

    def end(self, node_id: str, *, at_once: bool) -> None:
        """End a node: its links are reset, or the power fails and nobody is told."""
        node = self.nodes.pop(node_id, None)
        if node is None:
            return
        node.is_alive = False
        for link in [each for each in self._links if node_id in each]:
            self._after(0.002 if at_once else DEAD_WAY_S, partial(self._break, link))

    def stop(self, node_id: str) -> None:
        """Ask a node to hand over; it ends when it has."""
        node = self.nodes.get(node_id)
        if node is not None and not node.is_frozen:
            node.election.stop(self._clock(node))
            self._react(node)
            self._leave(node)

    def freeze(self, node_id: str) -> None:
        """Suspend a node; its kernel acknowledges still."""
        if node_id in self.nodes:
            self.nodes[node_id].is_frozen = True

    def thaw(self, node_id: str) -> None:
        """Let a node go on."""
        node = self.nodes.get(node_id)
        if node is not None and node.is_frozen:
            node.is_frozen = False
            self._after(0.0, partial(self._beat, node))

    def jump(self, node_id: str, seconds: float) -> None:
        """Let the monotonic clock of a node jump, as at a suspend, or by a broken kernel."""
        if node_id in self.nodes:
            self.nodes[node_id].ahead_s += seconds

    def note_fitness(self, node_id: str, *, is_fit: bool) -> None:
        """Let the disk of a node hang while it answers, or let it go on."""
        node = self.nodes.get(node_id)
        if node is not None and not node.is_frozen:
            node.election.note_fitness(is_fit, self._clock(node))
            self._react(node)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while self._queue and self._queue[0][0] <= until:
            self.now, _, call = heapq.heappop(self._queue)
            call()
        self.now = until

    # Observations -------------------------------------------------------------------------------

    def supernodes(self) -> list[str]:
        """Return the nodes that lead."""
        return [i for i, n in self.nodes.items() if n.election.role is Role.SUPERNODE]

    def followed(self) -> set[str]:
        """Return whom the nodes follow."""
        return {n.election.supernode_id for n in self.nodes.values()}

    def changes(self) -> int:
        """Return how often roles and supernodes have changed."""
        return sum(len(node.roles) for node in self.nodes.values())

    def both_ways(self, one: str, two: str) -> bool:
        """Return whether two nodes reach each other."""
        return (one, two) not in self.cut and (two, one) not in self.cut

    # Events -------------------------------------------------------------------------------------

    def _clock(self, node: RandomNode) -> float:
        return self.now + node.ahead_s

    def _after(self, seconds: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now + seconds, next(self._order), call))

    def _runs(self, node: RandomNode) -> bool:
        return node.is_alive and not node.is_frozen

    def _beat(self, node: RandomNode) -> None:
        if self._runs(node):
            node.election.tick(self._clock(node))
            self._broadcast(node)
            self._after(TIMINGS.heartbeat, partial(self._beat, node))

    def _broadcast(self, node: RandomNode) -> None:
        heartbeat = node.sent = node.election.heartbeat(self._clock(node))
        for peer in self._peers(node.node_id):
            self._tell(heartbeat, peer)
        self._note(node)
        due_s = node.election.deadline() - self._clock(node)
        if due_s < TIMINGS.heartbeat:
            self._after(max(0.001, due_s), partial(self._wake, node))

    def _tell(self, heartbeat: Heartbeat, peer_id: str) -> None:
        hears = heartbeat.hears & {peer_id, heartbeat.claim.supernode_id}
        told = replace(heartbeat, hears=hears)
        way = heartbeat.node_id, peer_id
        if way in self.cut or self.rng.random() < self.faults.loss:
            return
        arrival = self.now + self.rng.uniform(0.001, self.faults.delay_s)
        self._arrivals[way] = max(arrival, self._arrivals.get(way, 0.0))
        for _ in range(1 + (self.rng.random() < self.faults.repeats)):
            self._after(self._arrivals[way] - self.now, partial(self._receive, peer_id, told))

    def _receive(self, node_id: str, heartbeat: Heartbeat) -> None:
        node = self.nodes.get(node_id)
        link = frozenset((node_id, heartbeat.node_id))
        if node is None or node.is_frozen or link not in self._links:
            return
        was_heard = heartbeat.node_id in node.election.heard
        node.election.hear(heartbeat, self._clock(node))
        if not was_heard:
            self._tell(node.election.heartbeat(self._clock(node)), heartbeat.node_id)
        self._react(node)

    def _wake(self, node: RandomNode) -> None:
        if self._runs(node):
            node.election.tick(self._clock(node))
            self._react(node)

    def _react(self, node: RandomNode) -> None:
        """Tell at once what differs in role or claim, as a node does."""
        election, sent = node.election, node.sent
        if sent is None or (sent.role, sent.claim) != (election.role, election.claim):
            self._broadcast(node)

    def _leave(self, node: RandomNode) -> None:
        if not self._runs(node):
            return
        if node.election.has_left:
            self.end(node.node_id, at_once=True)
            return
        node.election.tick(self._clock(node))
        self._react(node)
        self._after(0.02, partial(self._leave, node))

    # Links --------------------------------------------------------------------------------------

    def _peers(self, node_id: str) -> list[str]:
        return [next(iter(link - {node_id})) for link in self._links if node_id in link]

    def _wants(self, node: RandomNode, peer_id: str) -> bool:
        election = node.election
        if election.role is not Role.MEMBER:
            return True
        return peer_id in (election.supernode_id, *election.successors()[:STANDBY])

    def _pairs(self) -> Iterator[tuple[RandomNode, RandomNode]]:
        yield from itertools.permutations(list(self.nodes.values()), 2)

    def _look(self) -> None:
        """Dial, and break links whose way is dead."""
        for one, two in self._pairs():
            link = frozenset((one.node_id, two.node_id))
            is_open = self.both_ways(one.node_id, two.node_id)
            if link in self._links:
                if not is_open:
                    self._after(DEAD_WAY_S, partial(self._break_dead, link))
            elif is_open and self._runs(one) and self._runs(two) and self._wants(one, two.node_id):
                self._links[link] = one.node_id
                for node, peer in ((one, two), (two, one)):
                    self._tell(node.election.heartbeat(self._clock(node)), peer.node_id)
        self._watch_doubles()
        self._after(LOOK_S, self._look)

    def _prune(self) -> None:
        for link, dialler in list(self._links.items()):
            node = self.nodes.get(dialler)
            if node is not None and self._runs(node):
                (peer_id,) = link - {dialler}
                if not self._wants(node, peer_id):
                    self._break(link)
        self._after(PRUNE_S, self._prune)

    def _break_dead(self, link: frozenset[str]) -> None:
        if not self.both_ways(*link):
            self._break(link)

    def _break(self, link: frozenset[str]) -> None:
        if self._links.pop(link, None) is None:
            return
        for node_id in link:
            node = self.nodes.get(node_id)
            if node is not None and self._runs(node):
                node.election.lose(next(iter(link - {node_id})), self._clock(node))
                self._react(node)

    # Records ------------------------------------------------------------------------------------

    def _note(self, node: RandomNode) -> None:
        election = node.election
        entry = (election.role, election.supernode_id, election.claim.epoch)
        if not node.roles or node.roles[-1][1:] != entry:
            node.roles.append((self.now, *entry))

    def _watch_doubles(self) -> None:
        """Note for how long two supernodes in reach of each other have had one epoch."""
        found = {}
        for one, two in itertools.combinations(self.nodes.values(), 2):
            both = (one, two)
            leads = all(self._runs(n) and n.election.role is Role.SUPERNODE for n in both)
            is_same = one.election.claim.epoch == two.election.claim.epoch
            if leads and is_same and self.both_ways(one.node_id, two.node_id):
                key = (one.node_id, two.node_id, one.election.claim.epoch)
                found[key] = self._doubles.get(key, self.now)
                self.doubled_s = max(self.doubled_s, self.now - found[key])
        self._doubles = found
