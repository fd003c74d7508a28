"""Signs and checks the statement by which the SEP holder of a cluster vouches for a node.

The node puts it into the JWT of its record. The cloud sends requests for the node to the holder
then, and refuses a statement whose claim is older than the newest that it has for the node.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from protocol.errors import TokenError
from protocol.ids import NODE_ID
from protocol.keys import NodeKey
from protocol.tokens import sign_as_node, verify_from_node

AUDIENCE = "supernode-member"
VALID_S = 24 * 3600
NUMBER_LIMIT = 2**53


@dataclass(frozen=True, slots=True, order=True)
class SepClaim:
    """The right to hold the SEP of a cluster; of two claims the greater counts.

    Attributes:
        epoch: of the supernode that has made the claim.
        number: counts the claims of that epoch.
        holder_id: the node that holds the SEP; "" while there is none.
    """

    epoch: int = 0
    number: int = 0
    holder_id: str = ""

    @property
    def order(self) -> tuple[int, int]:
        """The part that orders claims."""
        return self.epoch, self.number


@dataclass(frozen=True, slots=True)
class HolderStatement:
    """A statement that was checked.

    Attributes:
        node_id: the node that it is about.
        claim: that of its signer; None in statements of old versions.
        until: unix seconds.
    """

    node_id: str
    holder_id: str
    claim: SepClaim | None
    until: float


def sign_membership(node_id: str, holder: NodeKey, now: float, claim: SepClaim) -> str:
    """Return a holder's statement that it forwards to a node, valid for VALID_S."""
    claims = {"aud": AUDIENCE, "sub": node_id, "sep": claim_fields(claim)}
    return sign_as_node(claims, holder, now, VALID_S)


def read_membership(statement: str, now: float) -> HolderStatement:
    """Return what a statement says; TokenError when it is forged, expired or malformed."""
    signer, claims = verify_from_node(statement, AUDIENCE, now)
    node_id = claims.get("sub")
    if not isinstance(node_id, str) or not NODE_ID.fullmatch(node_id):
        raise TokenError("cannot accept membership: it is about no node")
    until = min(float(claims["exp"]), now + VALID_S)
    return HolderStatement(node_id, signer, read_claim(claims.get("sep"), signer), until)


def claim_fields(claim: SepClaim) -> dict[str, int]:
    """Return a claim as a JWT holds it; the holder is known without it."""
    return {"epoch": claim.epoch, "number": claim.number}


def read_claim(fields: Any, holder_id: str) -> SepClaim | None:
    """Return the claim in a JWT, None for none; TokenError when it is malformed."""
    if fields is None:
        return None
    if not isinstance(fields, Mapping):
        raise TokenError("cannot accept claim of the SEP: it is malformed")
    return SepClaim(_read_count(fields.get("epoch")), _read_count(fields.get("number")), holder_id)


def _read_count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= NUMBER_LIMIT:
        raise TokenError("cannot accept claim of the SEP: it is malformed")
    return value
