"""Credentials that a node belongs to an account: signed by mST, checked without the cloud.

A credential names its node, and TLS proves that node id, so that a copy is of no use to others.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from joserfc.jwk import ECKey, KeySet

from protocol.errors import TokenError
from protocol.ids import ACCOUNT_ID
from protocol.tokens import sign_token, verify_token

AUDIENCE = "cluster"
VALID_S = 30 * 86_400.0  # a cluster lives so long without the cloud
RENEW_S = 86_400.0  # while the cloud is there
ANY_TIME = 0.0  # at which none has ended


@dataclass(frozen=True, slots=True)
class ClusterCredential:
    """The account of a node, and the times of the credential in unix seconds."""

    node_id: str
    account_id: str
    expires_at: float
    issued_at: float = 0.0

    @property
    def end_date(self) -> str:
        """The day on which it ends, in UTC."""
        return datetime.fromtimestamp(self.expires_at, UTC).date().isoformat()


def sign_credential(node_id: str, account_id: str, signing: ECKey, now: float) -> str:
    """Return the credential of a node."""
    claims = {"aud": AUDIENCE, "sub": node_id, "account": account_id}
    return sign_token(claims, signing, now, VALID_S)


def read_credential(text: str, keys: KeySet, now: float) -> ClusterCredential:
    """Return what a credential says.

    Raises:
        TokenError: it is forged, expired or malformed.
    """
    claims = verify_token(text, keys, AUDIENCE, now)
    node_id, account_id = claims.get("sub"), claims.get("account")
    if not isinstance(node_id, str) or not isinstance(account_id, str):
        raise TokenError("cannot accept credential: it names no node and account")
    if not ACCOUNT_ID.fullmatch(account_id):
        raise TokenError("cannot accept credential: malformed account")
    expires_at = float(claims["exp"])
    return ClusterCredential(node_id, account_id, expires_at, expires_at - VALID_S)
