"""Counts the uses of claim tokens, which let devices join. Pure.

What holds after every call: uses never fall below 0. An expired or used claim counts against the
limit until take_expired() or take_spent() removes it. A device that did not receive the answer to
its join may repeat it with the same client id, without a further use, until it has logged in once:
a power cut between the commit and the answer needs no help of a person.

A claim may be for one board only, by the client id that the board joins with. Client ids are no
secrets: this limits a token that gets into wrong hands by itself, as from a log or a photograph.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from gateway.devices.credentials import digest_of, has_id, key_id

CLAIM_LIMIT = 1000
CLAIM_NAME = "claim:"  # and an id: an identity of the broker that may only join


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim token, by its digest."""

    digest: str
    uses: int  # uses that remain
    expires_at: float
    client_id: str = ""  # of the only board that may use it

    @property
    def name(self) -> str:
        """The name of the identity of a board that has it."""
        return f"{CLAIM_NAME}{key_id(self.digest)}"

    def is_for(self, client_id: str) -> bool:
        """Return whether a board may use it."""
        return self.client_id in ("", client_id)


class Claims:
    """The claim tokens of a node."""

    def __init__(self, claims: Iterable[Claim]) -> None:
        self._claims = {claim.digest: claim for claim in claims}

    def add(self, claim: Claim) -> bool:
        """Add a claim; return False when the limit is reached."""
        if len(self._claims) >= CLAIM_LIMIT:
            return False
        self._claims[claim.digest] = claim
        return True

    def find(self, token: bytes, now: float) -> Claim | None:
        """Return the claim of a token unless it has expired; its uses may be 0."""
        claim = self._claims.get(digest_of(token))
        return claim if claim is not None and now <= claim.expires_at else None

    def find_id(self, wanted: str, now: float) -> Claim | None:
        """Return the claim of an id unless it has expired."""
        for digest, claim in self._claims.items():
            if now <= claim.expires_at and has_id(digest, wanted):
                return claim
        return None

    def use(self, digest: str) -> Claim:
        """Take one use of a claim and return the rest; ValueError when there is none."""
        claim = self._claims.get(digest)
        if claim is None:
            raise ValueError("claim token has been ended")
        if claim.uses < 1:
            raise ValueError("cannot use claim: used up")
        used = self._claims[digest] = replace(claim, uses=claim.uses - 1)
        return used

    def restore(self, digest: str) -> None:
        """Restore the use of a join that could not be stored."""
        claim = self._claims.get(digest)
        if claim is not None:
            self._claims[digest] = replace(claim, uses=claim.uses + 1)

    def remove(self, digest: str) -> None:
        """Remove a claim that could not be stored."""
        self._claims.pop(digest, None)

    def take_expired(self, now: float) -> list[str]:
        """Remove expired claims and return their digests."""
        return self._take(
            digest for digest, claim in self._claims.items() if now > claim.expires_at
        )

    def take_spent(self, in_use: Collection[str]) -> list[str]:
        """Remove claims without uses, except those in use by joins; return their digests."""
        return self._take(
            digest
            for digest, claim in self._claims.items()
            if claim.uses < 1 and digest not in in_use
        )

    def take_all(self) -> list[str]:
        """Remove all and return their digests."""
        return self._take(self._claims)

    def _take(self, digests: Iterable[str]) -> list[str]:
        removed = list(digests)
        for digest in removed:
            del self._claims[digest]
        return removed
