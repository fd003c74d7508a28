"""Signs and verifies the cloud's tokens."""

from dataclasses import dataclass, field
from typing import Any

from joserfc.jwk import ECKey, KeySet

from cloud.storage.records import Bep
from cloud.tokens.access import AUDIENCE, CloudCaller, caller_from
from protocol.cluster_credentials import sign_credential
from protocol.tokens import sign_token, verify_token

RELAY_AUDIENCE = "relay"


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token, with its lifetime and its scope."""

    text: str = field(repr=False)
    ttl_s: float
    scope: str

    def answer(self) -> dict[str, Any]:
        """Return the token endpoint's answer (RFC 6749, 5.1)."""
        return {
            "access_token": self.text,
            "token_type": "Bearer",
            "expires_in": int(self.ttl_s),
            "scope": self.scope,
        }


class Issuer:
    """Makes tokens with the cloud's signing key and checks them with the published ones."""

    def __init__(self, name: str, signing: ECKey, published: KeySet, ttl_s: float) -> None:
        self.published = published
        self._name, self._signing, self._ttl_s = name, signing, ttl_s

    def for_node(self, node_id: str, scope: str, now: float) -> AccessToken:
        """Return a node's own access token."""
        return self._access({"sub": node_id, "node_id": node_id}, scope, now)

    def for_account(
        self, account_id: str, scope: str, client_id: str, node_id: str, now: float
    ) -> AccessToken:
        """Return an account's access token, bound to a node unless node_id is empty."""
        claims = {"sub": account_id, "client_id": client_id}
        if node_id:
            claims["node_id"] = node_id
        return self._access(claims, scope, now)

    def for_relay(self, bep: Bep, now: float) -> str:
        """Return the token with which a node serves a BEP at a relay."""
        claims = {"aud": RELAY_AUDIENCE, "sub": bep.node_id, "bep": bep.bep_id}
        return sign_token(claims, self._signing, now, bep.expires_at - now)

    def for_cluster(self, node_id: str, account_id: str, now: float) -> str:
        """Return the credential by which nodes of an account know each other without the cloud."""
        return sign_credential(node_id, account_id, self._signing, now)

    def verify(self, token: str, now: float) -> CloudCaller:
        """Return the subject of an access token; TokenError when it is not valid."""
        return caller_from(verify_token(token, self.published, AUDIENCE, now))

    def _access(self, claims: dict[str, str], scope: str, now: float) -> AccessToken:
        full = {"iss": self._name, "aud": AUDIENCE, "scope": scope, **claims}
        return AccessToken(sign_token(full, self._signing, now, self._ttl_s), self._ttl_s, scope)
