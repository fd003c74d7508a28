"""Decides which node of a cluster holds the link to the cloud (SEP). Pure; runs at the supernode.

The supernode holds the SEP as a rule. When it cannot reach the cloud, and a member can, it
delegates the SEP to the first such successor. It takes it back when its own way to the cloud has
been stable for BACK_S.
A claim of the SEP is (epoch of the supernode, number of the delegation): of two claims the greater
counts, at the cloud as well.
"""

from collections.abc import Mapping

from protocol.memberships import SepClaim

# Without the cloud, before another node gets the SEP. It has it within 10 s of a loss: up to 5.5 s
# pass until the loss is noticed (gateway/uplink/endpoint.py), and up to 1 s until all nodes have
# registered anew.
DOWN_S = 3.0
BACK_S = 60.0  # with the cloud, before the supernode takes it back


class SepHolder:
    """Chooses the holder for one term of a supernode; `now` is the monotonic clock."""

    def __init__(self, claim: SepClaim, now: float, *, reaches: bool = True) -> None:
        """Begin a term; `now` is when the node's own reach of the cloud changed last."""
        self._node_id, self.claim = claim.holder_id, claim
        self._changed_at = now  # of the supernode's own reach
        self._reaches = reaches
        self._unreached_since: float | None = None  # by the delegate

    def raise_epoch(self, epoch: int) -> None:
        """Follow the epoch of the supernode's role."""
        if epoch > self.claim.epoch:
            self.claim = SepClaim(epoch, 0, self.claim.holder_id)

    def note_own_reach(self, reaches: bool, now: float) -> None:
        """Note whether the supernode itself reaches the cloud."""
        if reaches is not self._reaches:
            self._reaches, self._changed_at = reaches, now

    def choose(self, members: Mapping[str, bool], now: float) -> SepClaim:
        """Return the claim that holds now.

        Args:
            members: for each fit member that is connected, in the order of succession, whether it
                reaches the cloud.
            now: the monotonic clock in seconds.
        """
        held_for_s = now - self._changed_at
        holder = self.claim.holder_id
        if holder == self._node_id:
            if not self._reaches and held_for_s >= DOWN_S:
                self._give_to(self._first_that_reaches(members) or holder, now)
            return self.claim
        if self._reaches and held_for_s >= BACK_S:
            self._give_to(self._node_id, now)
            return self.claim
        if members.get(holder, False):
            self._unreached_since = None
            return self.claim
        if self._unreached_since is None:
            self._unreached_since = now
        if holder not in members or now - self._unreached_since >= DOWN_S:
            own = self._node_id if self._reaches else ""
            self._give_to(own or self._first_that_reaches(members) or self._node_id, now)
        return self.claim

    def _give_to(self, holder_id: str, now: float) -> None:
        if holder_id != self.claim.holder_id:
            self.claim = SepClaim(self.claim.epoch, self.claim.number + 1, holder_id)
            self._unreached_since = None
            if holder_id == self._node_id and not self._reaches:
                self._changed_at = now  # it tries for DOWN_S again

    @staticmethod
    def _first_that_reaches(members: Mapping[str, bool]) -> str:
        return next((node_id for node_id, reaches in members.items() if reaches), "")
