"""Claim tokens: who may join, how often, until when.

What holds after every call: uses never fall below 0, and what nobody can use any more counts
against the limit only until it is taken out. A device that lost the answer to its join
may ask again with the same client id, at no further use, until it has logged in once: a power
cut between the commit and the answer must not need a person.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from gateway.devices.credentials import digest_of

CLAIM_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim token, by its digest."""

    digest: str
    uses: int  # left
    expires_at: float


class Claims:
    """The claim tokens of a node."""

    def __init__(self, claims: Iterable[Claim]) -> None:
        self._claims = {claim.digest: claim for claim in claims}

    def add(self, claim: Claim) -> bool:
        """Take a new claim in; return whether there was room."""
        if len(self._claims) >= CLAIM_LIMIT:
            return False
        self._claims[claim.digest] = claim
        return True

    def find(self, token: bytes, now: float) -> Claim | None:
        """Return the claim of a token if it is still in time, used up or not."""
        claim = self._claims.get(digest_of(token))
        return claim if claim is not None and now <= claim.expires_at else None

    def get(self, digest: str, now: float) -> Claim | None:
        """Return a claim by its digest if it is still in time."""
        claim = self._claims.get(digest)
        return claim if claim is not None and now <= claim.expires_at else None

    def use(self, digest: str) -> Claim:
        """Take one use of a claim that has any, and return what is left."""
        claim = self._claims[digest]
        if claim.uses < 1:
            raise ValueError("cannot use claim: used up")
        used = self._claims[digest] = replace(claim, uses=claim.uses - 1)
        return used

    def give_back(self, digest: str) -> None:
        """Undo a use whose join could not be stored."""
        claim = self._claims.get(digest)
        if claim is not None:
            self._claims[digest] = replace(claim, uses=claim.uses + 1)

    def take_expired(self, now: float) -> list[str]:
        """Remove what is out of time and return its digests."""
        return self._take(
            digest for digest, claim in self._claims.items() if now > claim.expires_at
        )

    def take_spent(self, waited_for: Collection[str]) -> list[str]:
        """Remove what is used up, but for devices that may ask again; return its digests."""
        return self._take(
            digest
            for digest, claim in self._claims.items()
            if claim.uses < 1 and digest not in waited_for
        )

    def take_all(self) -> list[str]:
        """Remove all and return their digests."""
        return self._take(self._claims)

    def _take(self, digests: Iterable[str]) -> list[str]:
        gone = list(digests)
        for digest in gone:
            del self._claims[digest]
        return gone
