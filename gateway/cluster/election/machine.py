"""Elects the supernode of a cluster. Pure.

Theory of operation
-------------------
Each node tells its peers its role, the claim that it follows, and the nodes that it hears
(heartbeat.py). After every event the machine looks at the rows of its role in TABLE
(election_rules.py), from the top, and takes the first whose condition holds, until none does.

    LISTENING ──a supernode is heard──► MEMBER ◄──a claim with a newer epoch── SEEKING
        │                                 │ └──the supernode is lost──────────►  │
        └──it is the best that starts──► SUPERNODE ◄──no peer hears the former───┘
                                          │  ▲
                        stops, is unfit ──┘  └── nobody has taken over
                                        LEAVING ──the successor's claim──► MEMBER

Rules that hold after every call:

1. The epoch never goes back. A node that takes the role claims a higher epoch than any it has heard
   of, so a claim of a node that slept, or was cut off, is older than that of its successor.
2. Only peers that hear this node count. A node that cannot be heard changes no role but its own.
3. A MEMBER follows a claim whose node it reaches. A SUPERNODE follows its own.
4. When two supernodes meet, the one with members stays, then the better by rank.py; it raises its
   epoch above the other's, and the other follows it. A node that was alone never moves a cluster.
5. The successors of a lost supernode take over in the order that it gave them, each when the ones
   before had their time. A successor waits while a peer still hears the supernode: its own link
   is broken then, not the supernode.
"""

from dataclasses import replace

from gateway.cluster.election.heartbeat import EPOCH_LIMIT, Heartbeat, Role, RoleClaim
from gateway.cluster.election.rules import ElectionRules
from gateway.cluster.election.state import NEVER, STARTING


class Election(ElectionRules):
    """Decides the role of this node; `now` is the monotonic clock in seconds."""

    def hear(self, heartbeat: Heartbeat, now: float) -> bool:
        """Note a heartbeat of an authenticated peer; return False when there are too many."""
        self._wake(now)
        if heartbeat.node_id == self._node_id or not self._peers.hear(heartbeat, now):
            return False
        if heartbeat.claim.epoch > self.claim.epoch and self.role in (Role.SUPERNODE, *STARTING):
            self._note_epoch(heartbeat)
        if heartbeat.node_id == self.supernode_id:
            self._successors = heartbeat.successors
            if heartbeat.claim.supernode_id == heartbeat.node_id:  # it went above a rival
                self.claim = max(self.claim, heartbeat.claim)
        self._settle(now)
        return True

    def lose(self, node_id: str, now: float) -> None:
        """Note that the link to a peer has ended."""
        self._wake(now)
        self._peers.lose(node_id)
        self._settle(now)

    def tick(self, now: float) -> None:
        """Note that time has passed. Called before anything is received after a pause."""
        self._wake(now)
        self._peers.expire(now)
        self._settle(now)

    def note_fitness(self, is_fit: bool, now: float) -> None:
        """Note whether the broker and the disk of this node work."""
        self._wake(now)
        if is_fit:
            self._unfit_since = NEVER
        elif self._unfit_since == NEVER:
            self._unfit_since = now
        self._settle(now)

    def raise_epoch(self, epoch: int, now: float) -> None:
        """Note an epoch that was seen elsewhere, as by the cloud; a supernode goes above it."""
        self._wake(now)
        if epoch < self.claim.epoch:
            return
        if self.leads:
            self.claim = RoleClaim(epoch).above(self._node_id)
        else:
            self.claim = replace(self.claim, epoch=min(epoch, EPOCH_LIMIT))
        self._settle(now)

    def stop(self, now: float) -> None:
        """Hand over, if this is the supernode of others; has_left says when that is done."""
        self._wake(now)
        self.is_stopping = True
        self._settle(now)

    @property
    def has_left(self) -> bool:
        """True when this node may stop."""
        return self.is_stopping and self.role is not Role.LEAVING

    def _settle(self, now: float) -> None:
        """Take rows until none applies; each changes role, claim or wait, so it ends."""
        for _ in range(4 * len(self.TABLE)):
            row = next((row for row in self.TABLE[self.role] if row.condition(self, now)), None)
            if row is None:
                return
            row.action(self, now)
            if row.is_last:
                return

    def has_paused(self, now: float) -> bool:
        """Return whether so much time has passed unnoticed that others may have taken over."""
        return now - self._seen_at > self._timings.suspended

    def _wake(self, now: float) -> None:
        """Step down after a pause so long that others may have taken over."""
        has_paused, self._seen_at = self.has_paused(now), max(now, self._seen_at)
        if not has_paused or not self.leads:
            return
        if self.members():
            self._flaps.note_loss(now)
            self._peers.expire(now)
            self._become(Role.LISTENING, RoleClaim(self.claim.epoch), now)
            self._until = now + 2 * self._timings.listening

    def _note_epoch(self, heartbeat: Heartbeat) -> None:
        """Raise the epoch to one that a peer has seen; a supernode goes above it."""
        epoch = heartbeat.claim.epoch
        if self.role is not Role.SUPERNODE:
            self.claim = replace(self.claim, epoch=epoch)
        elif heartbeat.role not in (Role.SUPERNODE, Role.LEAVING):
            follows_other = heartbeat.claim.supernode_id not in ("", self._node_id)
            if not follows_other and self._node_id in heartbeat.hears:
                self.claim = heartbeat.claim.above(self._node_id)
