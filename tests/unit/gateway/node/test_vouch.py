"""Only the holder of the SEP vouches for this node, and only by the claim that holds."""

from gateway.node.vouch import HolderVouch
from protocol.keys import new_node_key
from protocol.memberships import SepClaim, sign_membership

HOLDER, OTHER, OWN = new_node_key(), new_node_key(), new_node_key()
CLAIM = SepClaim(3, 1, HOLDER.node_id)
NOW = 1000.0


def test_the_statement_of_the_holder_counts_while_its_claim_does() -> None:
    vouch = HolderVouch(OWN.node_id)
    statement = sign_membership(OWN.node_id, HOLDER, NOW, CLAIM)
    assert vouch.note(statement, CLAIM)
    assert vouch.of(CLAIM) == statement
    assert vouch.of(SepClaim(3, 2, OTHER.node_id)) == ""
    assert vouch.of(SepClaim(4, 0, HOLDER.node_id)) == ""


def test_other_statements_do_not_count() -> None:
    vouch = HolderVouch(OWN.node_id)
    for statement in (
        sign_membership(OWN.node_id, OTHER, NOW, CLAIM),  # not the holder
        sign_membership(OTHER.node_id, HOLDER, NOW, CLAIM),  # about another node
        sign_membership(OWN.node_id, HOLDER, NOW, SepClaim(2, 9, HOLDER.node_id)),  # older
        "forged",
        "",
    ):
        assert not vouch.note(statement, CLAIM)
    assert vouch.of(CLAIM) == ""
