"""Checks the tokens by which nodes prove their identity: assertions (mST), edge ID tokens (mID)."""

from dataclasses import dataclass

from protocol.errors import TokenError
from protocol.ids import ACCOUNT_ID
from protocol.tokens import LEEWAY_S, Claims, verify_from_node

ASSERTION_TTL_LIMIT_S = 300
EDGE_ID_TTL_LIMIT_S = 3600  # shown to a person, who pastes it into a request by hand
JTI_LIMIT = 64


@dataclass(frozen=True, slots=True)
class Assertion:
    """A node's request for an access token; valid once."""

    node_id: str
    jti: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class EdgeIdentity:
    """The node that asks to be bound to a token, and the account it claims."""

    node_id: str
    account_id: str


def read_assertion(token: str, now: float) -> Assertion:
    """Return the assertion in a token signed by a node; TokenError when it is not valid."""
    signer, claims = verify_from_node(token, "mst", now)
    if claims.get("iss") != signer or claims.get("sub") != signer:
        raise TokenError("cannot accept assertion: iss and sub are not the node that signed it")
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 1 <= len(jti) <= JTI_LIMIT:
        raise TokenError(f"cannot accept assertion: jti is not 1 to {JTI_LIMIT} characters")
    return Assertion(signer, jti, _short_lived(claims, ASSERTION_TTL_LIMIT_S, now))


def read_edge_identity(token: str, now: float) -> EdgeIdentity:
    """Return the node in an edge ID token; TokenError when it is not valid."""
    signer, claims = verify_from_node(token, "mid", now)
    if claims.get("node_id") != signer:
        raise TokenError("cannot accept edge ID token: node_id is not the node that signed it")
    account_id = claims.get("sub", "")
    if account_id != "" and not (isinstance(account_id, str) and ACCOUNT_ID.fullmatch(account_id)):
        raise TokenError("cannot accept edge ID token: sub malformed")
    _short_lived(claims, EDGE_ID_TTL_LIMIT_S, now)
    return EdgeIdentity(signer, account_id)


def _short_lived(claims: Claims, limit_s: float, now: float) -> float:
    expires = float(claims["exp"])
    if expires > now + limit_s + LEEWAY_S:
        raise TokenError(f"cannot accept token: valid for more than {limit_s:.0f} s")
    return expires
