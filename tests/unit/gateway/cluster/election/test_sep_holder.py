from gateway.cluster.election.heartbeat import EPOCH_LIMIT, RoleClaim
from gateway.cluster.election.sep_agreement import SepAgreement
from gateway.cluster.election.sep_holder import SepHolder
from protocol.memberships import SepClaim


def holder() -> SepHolder:
    return SepHolder(SepClaim(3, 0, "a"), 0.0)


def test_the_supernode_holds_the_sep() -> None:
    assert holder().choose({"b": True}, 1000.0) == SepClaim(3, 0, "a")


# case N11
def test_a_member_gets_it_within_ten_seconds_and_gives_it_back_after_a_stable_minute() -> None:
    sep = holder()
    sep.note_own_reach(False, 100.0)
    assert sep.choose({"b": False, "c": True}, 102.9).holder_id == "a"
    assert sep.choose({"b": False, "c": True}, 103.0) == SepClaim(3, 1, "c")
    sep.note_own_reach(True, 110.0)
    assert sep.choose({"c": True}, 169.0).holder_id == "c"
    sep.note_own_reach(False, 169.0)
    sep.note_own_reach(True, 170.0)
    assert sep.choose({"c": True}, 229.0).holder_id == "c"  # not stable for a minute
    assert sep.choose({"c": True}, 230.0) == SepClaim(3, 2, "a")


def test_nobody_gets_it_when_nobody_reaches_the_cloud() -> None:
    sep = holder()
    sep.note_own_reach(False, 0.0)
    assert sep.choose({"b": False}, 100.0) == SepClaim(3, 0, "a")
    assert sep.choose({"b": True}, 101.0).holder_id == "b"


def test_a_delegate_that_is_lost_or_unreached_is_replaced() -> None:
    sep = holder()
    sep.note_own_reach(False, 0.0)
    assert sep.choose({"b": True, "c": True}, 10.0).holder_id == "b"
    assert sep.choose({"b": False, "c": True}, 11.0).holder_id == "b"
    assert sep.choose({"b": False, "c": True}, 13.9).holder_id == "b"
    assert sep.choose({"b": False, "c": True}, 14.0).holder_id == "c"
    assert sep.choose({}, 17.0).holder_id == "a"  # it left
    assert sep.choose({"b": True}, 18.0).holder_id == "a"  # the supernode tries again first
    assert sep.choose({"b": True}, 20.0).holder_id == "b"


def test_a_supernode_that_reaches_takes_over_from_a_lost_delegate_at_once() -> None:
    sep = holder()
    sep.note_own_reach(False, 0.0)
    assert sep.choose({"b": True}, 10.0).holder_id == "b"
    sep.note_own_reach(True, 11.0)
    assert sep.choose({"b": True}, 12.0).holder_id == "b"
    assert sep.choose({}, 13.0) == SepClaim(3, 2, "a")


def test_claims_of_later_terms_are_greater() -> None:
    sep = holder()
    first = sep.claim
    sep.raise_epoch(5)
    assert sep.claim > first
    assert sep.claim == SepClaim(5, 0, "a")


def test_a_term_with_an_epoch_that_has_reached_its_end_goes_above_by_its_number() -> None:
    sep = SepAgreement("b", 0.0)
    sep.follow("a", SepClaim(EPOCH_LIMIT, 3, "a"))
    sep.note_own_reach(True, 0.0)
    sep.lead(RoleClaim(EPOCH_LIMIT, "b"), (), (), 1.0)
    assert sep.claim == SepClaim(EPOCH_LIMIT, 4, "b")
    sep.lead(RoleClaim(EPOCH_LIMIT, "b"), (), (), 2.0)
    assert sep.claim.number == 4
