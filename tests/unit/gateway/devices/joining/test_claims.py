import pytest

from gateway.devices.credentials import digest_of
from gateway.devices.joining.claims import CLAIM_LIMIT, Claim, Claims


def test_a_claim_has_its_uses_and_its_time() -> None:
    claims = Claims([])
    assert claims.add(Claim(digest_of(b"t"), uses=2, expires_at=10.0))
    assert claims.find(b"t", now=10.0) is not None
    assert claims.find(b"t", now=10.1) is None
    assert claims.find(b"u", now=0.0) is None
    assert claims.use(digest_of(b"t")).uses == 1
    assert claims.use(digest_of(b"t")).uses == 0
    with pytest.raises(ValueError, match="used up"):
        claims.use(digest_of(b"t"))
    claims.restore(digest_of(b"t"))
    assert claims.use(digest_of(b"t")).uses == 0


def test_expired_claims_make_room() -> None:
    claims = Claims(
        Claim(str(number), 1, expires_at=float(number)) for number in range(CLAIM_LIMIT)
    )
    assert not claims.add(Claim("new", 1, 5000.0))
    assert sorted(claims.take_expired(now=1.5)) == ["0", "1"]
    assert claims.take_expired(now=1.5) == []
    assert claims.add(Claim("new", 1, 5000.0))


def test_claims_that_are_used_up_make_room() -> None:  # case G7, its kind
    digests = [digest_of(b"%d" % number) for number in range(CLAIM_LIMIT)]
    claims = Claims(Claim(digest, 1, 5000.0) for digest in digests)
    for digest in digests:  # all in one burst
        claims.use(digest)
    assert not claims.add(Claim("new", 1, 5000.0))
    assert len(claims.take_spent(in_use={digests[7]})) == CLAIM_LIMIT - 1
    assert claims.find(b"7", now=1.0) is not None  # its device may have lost the answer
    assert claims.add(Claim("new", 1, 5000.0))
    assert sorted(claims.take_all()) == sorted([digests[7], "new"])


def test_a_claim_is_found_by_its_id_which_does_not_tell_its_digest() -> None:
    claim = Claim(digest_of(b"t"), 1, expires_at=10.0)
    claims = Claims([Claim(digest_of(b"other"), 1, 10.0), claim])
    assert claims.find_id(claim.name.removeprefix("claim:"), now=10.0) == claim
    assert claims.find_id(claim.name.removeprefix("claim:"), now=10.1) is None
    assert claims.find_id(claim.digest, now=0.0) is None
    assert claim.digest[:8] not in claim.name


def test_a_claim_that_was_ended_during_a_join_admits_nobody() -> None:
    claims = Claims([])
    claims.add(Claim("digest", 1, 10.0))
    claims.take_all()
    with pytest.raises(ValueError, match="has been ended"):
        claims.use("digest")
