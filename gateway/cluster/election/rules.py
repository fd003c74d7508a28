"""Holds the table of an election: the conditions and actions of each role. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from gateway.cluster.election.heartbeat import Role, RoleClaim
from gateway.cluster.election.state import ElectionState, merge_key

Condition = Callable[[Any, float], bool]
Action = Callable[[Any, float], None]


@dataclass(frozen=True, slots=True)
class Transition:
    """One row of the table."""

    name: str
    condition: Condition
    action: Action
    is_last: bool = False  # the action sets a wait


class ElectionRules(ElectionState):
    """The conditions and actions that TABLE names; each takes the monotonic time."""

    # Conditions -------------------------------------------------------------------------------

    def _hears_claim(self, _now: float) -> bool:
        return self._best_claim() is not None

    def _hears_newer_claim(self, _now: float) -> bool:
        best = self._best_claim()
        return best is not None and best.claim.epoch > self.claim.epoch

    def _is_taken_over(self, now: float) -> bool:
        """Return whether another has the role; a supernode that leads still is followed."""
        supernode = self._peers.get(self.supernode_id)
        leads = supernode is not None and supernode.role is Role.SUPERNODE
        return not leads and self._hears_newer_claim(now)

    def _is_first(self, now: float) -> bool:
        return now >= self._until and self._find_better(now) is None

    def _waits_for_better(self, now: float) -> bool:
        return now >= self._until

    def _has_lost_supernode(self, _now: float) -> bool:
        return self._peers.get(self.supernode_id) is None

    def _is_handed_over(self, _now: float) -> bool:
        supernode = self._peers.get(self.supernode_id)
        if supernode is None or supernode.role is not Role.LEAVING or not self._is_fit:
            return False
        return self._turn() == 0

    def _has_no_claim_any_more(self, _now: float) -> bool:
        supernode = self._peers.get(self.supernode_id)
        leads = supernode is not None and supernode.role in (Role.SUPERNODE, Role.LEAVING)
        return not leads

    def _is_witnessed(self, now: float) -> bool:
        """Return whether a peer hears the lost supernode, or that one follows another."""
        lost = self._former
        former = self._peers.get(lost)
        if former is not None and former.role is Role.MEMBER:
            return now < self._lost_at + self._timings.contact
        return any(
            peer.claim.supernode_id == lost and lost in peer.hears
            for peer in self._peers.reached(self._lost_at)
        )

    def _has_turn(self, now: float) -> bool:
        return now >= self._turn_at() and self._is_fit and not self._is_witnessed(now)

    def _is_last_resort(self, now: float) -> bool:
        return self._waits_for_better(now) and not self._is_witnessed(now) and self._is_first(now)

    def _yields(self, now: float) -> bool:
        rival = self._find_rival()
        if rival is None or rival.claim.epoch < self.claim.epoch:
            return False
        return merge_key(rival) > merge_key(self.heartbeat(now))

    def _is_outbid(self, now: float) -> bool:
        rival = self._find_rival()
        if rival is None or rival.claim.above(self._node_id).epoch <= self.claim.epoch:
            return False
        return merge_key(rival) < merge_key(self.heartbeat(now))

    def _must_leave(self, now: float) -> bool:
        is_unfit = (
            now >= self._unfit_since + self._timings.unfit and now >= self._no_handover_before
        )
        return (self.is_stopping or is_unfit) and bool(self.successors())

    def _is_abandoned(self, now: float) -> bool:
        return now >= self._until

    # Actions ----------------------------------------------------------------------------------

    def _follow(self, now: float) -> None:
        best = self._best_claim()
        assert best is not None  # the condition of the row
        self._become(Role.MEMBER, best.claim, now)
        self._successors = best.successors

    def _yield(self, now: float) -> None:
        rival = self._find_rival()
        assert rival is not None  # the condition of the row
        self._flaps.note_loss(now)
        self._become(Role.MEMBER, rival.claim, now)
        self._successors = rival.successors

    def _lead(self, now: float) -> None:
        self._become(Role.SUPERNODE, self.claim.above(self._node_id), now)

    def _outbid(self, _now: float) -> None:
        rival = self._find_rival()
        assert rival is not None  # the condition of the row
        self.claim = rival.claim.above(self._node_id)

    def _wait(self, now: float) -> None:
        better = self._find_better(now)
        if better is not None and better.node_id == self._awaited:
            self._passed_over.add(better.node_id)
            better = self._find_better(now)
        self._awaited = better.node_id if better is not None else ""
        self._until = now + self._timings.patience if better is not None else now

    def _seek(self, now: float) -> None:
        self._flaps.note_loss(now)
        self._former, self._lost_at = self.supernode_id, now
        turns = len(self._successors)
        self._become(Role.SEEKING, RoleClaim(self.claim.epoch), now)
        self._until = now + self._timings.witness + turns * self._timings.patience

    def _keep_seeking(self, now: float) -> None:
        self._until = now + self._timings.patience

    def _leave(self, now: float) -> None:
        self._become(Role.LEAVING, self.claim, now)
        self._until = now + self._timings.handover

    def _take_back(self, now: float) -> None:
        self._no_handover_before = now + self._timings.retry
        self._become(Role.SUPERNODE, self.claim, now)

    TABLE: ClassVar[Mapping[Role, tuple[Transition, ...]]] = {
        Role.LISTENING: (
            Transition("a supernode is there", _hears_claim, _follow),
            Transition("it is the best that starts", _is_first, _lead),
            Transition("a better one starts", _waits_for_better, _wait),
        ),
        Role.MEMBER: (
            Transition("another has taken over", _is_taken_over, _follow),
            Transition("the supernode is lost", _has_lost_supernode, _seek),
            Transition("the supernode hands over", _is_handed_over, _lead),
            Transition("the supernode follows another", _has_no_claim_any_more, _seek),
        ),
        Role.SEEKING: (
            Transition("a supernode is there", _hears_claim, _follow),
            Transition("its turn as a successor", _has_turn, _lead),
            Transition("a peer hears the supernode", _is_witnessed, _keep_seeking, is_last=True),
            Transition("all successors had their time", _is_last_resort, _lead),
            Transition("a better one seeks", _waits_for_better, _wait),
        ),
        Role.SUPERNODE: (
            Transition("a better supernode is there", _yields, _yield),
            Transition("a worse supernode is there", _is_outbid, _outbid),
            Transition("it stops or is unfit", _must_leave, _leave),
        ),
        Role.LEAVING: (
            Transition("the successor has taken over", _hears_claim, _follow),
            Transition("nobody has taken over", _is_abandoned, _take_back),
        ),
    }
