"""Proofs of strangers and of members, whatever they hold."""

import pytest

from gateway.cluster.links.admission import SecretAdmission
from settings.secret import Secret

ME, PEER = "a" * 56, "b" * 56
OLD, NEW = Secret("correct horse battery"), Secret("staple battery horse")
UNKNOWN = "it does not know the secret"


@pytest.mark.parametrize(
    "proof", ["", "é", "\ud800", "0" * 63, "f" * 60_000, "\x00", "\uff11" * 64]
)
def test_any_text_of_a_stranger_is_refused_by_the_secret(proof: str) -> None:
    assert UNKNOWN in SecretAdmission(ME, [OLD, NEW]).refuse(PEER, proof)


def test_a_secret_is_rotated_node_by_node() -> None:
    before, between, after = [OLD], [NEW, OLD], [NEW]
    for one, two in [(before, before), (before, between), (between, between), (between, after)]:
        mine, theirs = SecretAdmission(ME, one), SecretAdmission(PEER, two)
        assert not mine.refuse(PEER, theirs.prove(ME))
        assert not theirs.refuse(ME, mine.prove(PEER))
    assert UNKNOWN in SecretAdmission(ME, before).refuse(
        PEER, SecretAdmission(PEER, after).prove(ME)
    )


def test_a_proof_is_of_no_use_to_another_node_or_back() -> None:
    mine = SecretAdmission(ME, [OLD])
    shown = SecretAdmission(PEER, [OLD]).prove(ME)
    assert not mine.refuse(PEER, shown)
    assert mine.refuse("c" * 56, shown)
    assert SecretAdmission(PEER, [OLD]).refuse(ME, shown)
