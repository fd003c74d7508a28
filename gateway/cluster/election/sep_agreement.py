"""Knows which node of the cluster holds the SEP: decides as supernode, follows as member. Pure.

A member follows what the supernode says that it follows itself, and nobody else. Of two claims of
one supernode the greater counts. A supernode decides anew at each change of its own reach of the
cloud and with each heartbeat.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace

from gateway.cluster.election.heartbeat import Heartbeat, RoleClaim
from gateway.cluster.election.sep_holder import SepHolder
from gateway.cluster.election.state import ElectionState
from protocol.memberships import SepClaim


class SepAgreement:
    """The claim of the SEP that this node knows of; `now` is the monotonic clock."""

    def __init__(self, node_id: str, now: float, cloud: str = "") -> None:
        """Begin without a claim; cloud names this node's cloud, "" for none."""
        self._node_id, self.cloud = node_id, cloud
        self._term: SepHolder | None = None  # while this node is the supernode
        self._supernode_id = ""  # the supernode that made the claim
        self._reaches, self._changed_at = False, now
        self.claim = SepClaim()

    @property
    def reaches(self) -> bool:
        """True when this node has a way of its own to the cloud."""
        return self._reaches

    @property
    def holds(self) -> bool:
        """True when this node holds the SEP."""
        return self.claim.holder_id == self._node_id

    def note_own_reach(self, reaches: bool, now: float) -> None:
        """Note whether this node has a way of its own to the cloud."""
        if reaches is not self._reaches:
            self._reaches, self._changed_at = reaches, now
        if self._term is not None:
            self._term.note_own_reach(reaches, now)

    def follow(self, supernode_id: str, claim: SepClaim) -> bool:
        """Take a claim of the supernode that this node follows; return False for an older one."""
        if supernode_id == self._supernode_id and claim.order < self.claim.order:
            return False
        self._term = None
        self._supernode_id, self.claim = supernode_id, claim
        return True

    def hear(self, heartbeat: Heartbeat, followed: RoleClaim) -> None:
        """Take the claim in a heartbeat, if this node follows its sender."""
        sender = heartbeat.node_id
        if sender == followed.supernode_id == heartbeat.claim.supernode_id:
            claim = heartbeat.sep or SepClaim(heartbeat.claim.epoch, 0, sender)
            self.follow(sender, claim)

    def complete(self, heartbeat: Heartbeat, election: ElectionState) -> Heartbeat:
        """Return a heartbeat with what this node says about the cloud and, if it leads, the SEP."""
        return replace(
            heartbeat,
            reaches_cloud=self._reaches,
            cloud=self.cloud,
            sep=self.claim if election.leads else None,
        )

    def settle(self, election: ElectionState, connected: Collection[str], now: float) -> None:
        """Decide who holds the SEP as the supernode; know of nobody without one.

        Args:
            election: of this node.
            connected: the ids of members with a data connection.
            now: the monotonic clock in seconds.
        """
        if election.leads:
            may_move = not self._reaches or not self.holds
            members = election.fit_members() if may_move else ()
            self.lead(election.claim, members, connected, now)
        elif not election.supernode_id:
            self._leave()

    def lead(
        self, role: RoleClaim, members: Iterable[Heartbeat], connected: Collection[str], now: float
    ) -> None:
        """Decide as the supernode.

        Args:
            role: the claim of this node.
            members: its fit members, in the order of succession; read only when they matter.
            connected: the ids of members with a data connection.
            now: the monotonic clock in seconds.
        """
        if self._term is None:
            self._term = SepHolder(
                SepClaim(role.epoch, self._first_number(role.epoch), self._node_id),
                self._changed_at,
                reaches=self._reaches,
            )
            self._supernode_id = self._node_id
        self._term.raise_epoch(role.epoch)
        if self._term.claim.holder_id != self._node_id or not self._reaches:
            reach = {m.node_id: self._may_hold(m) for m in members if m.node_id in connected}
            self._term.choose(reach, now)
        self.claim = self._term.claim

    def _first_number(self, epoch: int) -> int:
        """Return the number of a new term: above that of the last claim if the epoch is its own."""
        return self.claim.number + 1 if self.claim.epoch >= epoch else 0

    def _leave(self) -> None:
        """Keep the order of the last claim; nobody holds the SEP."""
        self._term = None
        self._supernode_id = ""
        self.claim = SepClaim(*self.claim.order, "")

    def _may_hold(self, member: Heartbeat) -> bool:
        return member.reaches_cloud and (not self.cloud or member.cloud == self.cloud)
