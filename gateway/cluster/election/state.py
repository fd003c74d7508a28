"""Holds the state of an election and answers questions about it. Pure."""

from dataclasses import dataclass, replace

from gateway.cluster.election.heartbeat import Heartbeat, Role, RoleClaim
from gateway.cluster.election.peers import Peers
from gateway.cluster.election.rank import FlapGuard, Rank, classify_uptime, order_key

SUCCESSORS = 5
PEERS_LIMIT = 1100  # 1,000 members at one supernode, and some that come and go
NEVER = float("inf")
STARTING = (Role.LISTENING, Role.SEEKING)


@dataclass(frozen=True, slots=True)
class Timings:
    """The waits of an election, in seconds; a test may shorten them."""

    listening: float = 0.3  # a supernode on the same network answers within tens of milliseconds
    patience: float = 0.5  # for the best of the starting nodes, and for each successor
    heartbeat: float = 0.5
    silence: float = 2.0  # a peer whose link is open and that says nothing has lost its power
    witness: float = 0.3  # for the peers' next heartbeats after the supernode is lost
    suspended: float = 1.5  # below `silence`: a node that slept learns it before others know it
    unfit: float = 1.0
    handover: float = 1.0
    retry: float = 10.0  # after a handover that nobody took
    contact: float = 3.0  # for a link to the supernode that the former one follows


class ElectionState:
    """The role of this node, the claim that it follows, and its peers."""

    def __init__(
        self,
        node_id: str,
        now: float,
        rank: Rank | None = None,
        epoch: int = 0,
        timings: Timings | None = None,
    ) -> None:
        """Start to listen; the epoch is the highest that earlier runs have seen."""
        self._node_id, self._rank = node_id, rank or Rank()
        self._timings = timings or Timings()
        self._started_at = self._seen_at = now
        self._peers = Peers(node_id, self._timings.silence, PEERS_LIMIT)
        self._flaps = FlapGuard()
        self.role, self.claim = Role.LISTENING, RoleClaim(epoch)
        self._until = now + self._timings.listening  # of the present wait
        self._passed_over: set[str] = set()  # better nodes that did not claim in their time
        self._awaited = ""  # the better node that is waited for
        self._successors: tuple[str, ...] = ()  # of the supernode that this node follows
        self._former, self._lost_at = "", NEVER  # the supernode that was lost
        self._unfit_since = NEVER
        self._no_handover_before = now
        self.is_stopping = False

    @property
    def supernode_id(self) -> str:
        """The supernode that this node follows, itself included; "" when there is none."""
        return self.claim.supernode_id

    @property
    def timings(self) -> Timings:
        """The waits of this election."""
        return self._timings

    @property
    def heard(self) -> frozenset[str]:
        """The peers that this node hears."""
        return self._peers.heard

    @property
    def one_way(self) -> frozenset[str]:
        """The peers that this node hears, but that do not hear it."""
        return self._peers.one_way()

    def members(self) -> list[Heartbeat]:
        """Return the peers that follow this node."""
        return [p for p in self._peers.reached() if p.claim.supernode_id == self._node_id]

    def successors(self) -> tuple[str, ...]:
        """Return the nodes that take over from the supernode, in their order."""
        if not self.leads:
            return self._successors
        return tuple(each.node_id for each in self.fit_members()[:SUCCESSORS])

    def fit_members(self) -> list[Heartbeat]:
        """Return the peers that follow this node and may take over, in the order of succession."""
        fit = [each for each in self.members() if each.is_fit]
        return sorted(fit, key=lambda each: order_key(each.rank, each.node_id), reverse=True)

    @property
    def leads(self) -> bool:
        """True while this node is the supernode, also while it hands over."""
        return self.role in (Role.SUPERNODE, Role.LEAVING)

    def heartbeat(self, now: float) -> Heartbeat:
        """Return what this node tells its peers."""
        return Heartbeat(
            node_id=self._node_id,
            role=self.role,
            claim=self.claim,
            rank=self._rank_now(now),
            hears=self._peers.heard,
            successors=self.successors(),
            has_members=self.leads and bool(self.members()),
            is_fit=self._unfit_since == NEVER and not self.is_stopping,
        )

    def deadline(self) -> float:
        """Return when tick() is due at the latest; infinity when only an event can matter."""
        waits = {
            Role.LISTENING: self._until,
            Role.SEEKING: min(self._until, max(self._turn_at(), self._seen_at)),
            Role.LEAVING: self._until,
            Role.SUPERNODE: max(self._unfit_since + self._timings.unfit, self._no_handover_before),
            Role.MEMBER: NEVER,
        }
        return min(waits[self.role], self._peers.next_expiry())

    def _become(self, role: Role, claim: RoleClaim, now: float) -> None:
        self.role, self.claim = role, claim
        self._passed_over.clear()
        self._awaited = ""
        self._until = now

    @property
    def _is_fit(self) -> bool:
        return self._unfit_since == NEVER and not self.is_stopping

    def _rank_now(self, now: float) -> Rank:
        return replace(
            self._rank,
            uptime_class=classify_uptime(now - self._started_at),
            is_settled=self._flaps.is_settled(now),
        )

    def _best_claim(self) -> Heartbeat | None:
        """Return the supernode with the newest claim that is not older than what was seen."""
        epoch = self.claim.epoch
        claims = [peer for peer in self._peers.supernodes() if peer.claim.epoch >= epoch]
        return max(claims, key=lambda peer: peer.claim, default=None)

    def _find_rival(self) -> Heartbeat | None:
        return max(self._peers.supernodes(), key=merge_key, default=None)

    def _find_better(self, now: float) -> Heartbeat | None:
        """Return the best peer that should lead instead of this node and still has its time.

        A supernode whose claim is too old to follow is one: it hears of the newer epoch, and goes
        above it.
        """
        own = order_key(self._rank_now(now), self._node_id)
        better = [
            peer
            for peer in self._peers.reached()
            if peer.node_id not in self._passed_over
            and (peer.role is Role.SUPERNODE or (peer.role in STARTING and peer.is_fit))
            and (
                peer.role is Role.SUPERNODE
                or not self._is_fit
                or order_key(peer.rank, peer.node_id) > own
            )
        ]
        return max(better, key=lambda peer: order_key(peer.rank, peer.node_id), default=None)

    def _turn_at(self) -> float:
        """Return when this node may take over as a successor; infinity when it is none."""
        turn = self._turn()
        if turn is None:
            return NEVER
        return self._lost_at + self._timings.witness + turn * self._timings.patience

    def _turn(self) -> int | None:
        """Return how many reachable successors come before this node; None when it is none."""
        if self._node_id not in self._successors:
            return None
        before = self._successors[: self._successors.index(self._node_id)]
        return sum(self._peers.get(node_id) is not None for node_id in before)


def merge_key(peer: Heartbeat) -> tuple[object, ...]:
    """Return the key by which supernodes that meet are ordered; the greatest stays."""
    return peer.is_fit, peer.has_members, *order_key(peer.rank, peer.node_id)
