"""Authenticates users by a JWT as password, checked against public keys in a file."""

from __future__ import annotations

import json
import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from broker.access.bearer import METHOD, BearerExchange
from broker.access.errors import AccessError
from broker.access.rights.text import read_text
from broker.policy import AuthExchange, Credentials, Identity, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from joserfc.jwk import KeySet

logger = logging.getLogger(__name__)

# only signatures by a private key: with a shared secret, each checker could also make tokens
ALGORITHMS = ("ES256", "ES384", "Ed25519", "PS256", "RS256")
KEY_TYPES = ("EC", "OKP", "RSA")
LEEWAY_S = 30.0  # clocks drift
LIMIT_BYTES = 8192
JWT_START = b"eyJ"  # base64url of '{"'


@dataclass(frozen=True, slots=True)
class TokenTerms:
    """The claims that a token must have; "" allows any value."""

    issuer: str = ""
    audience: str = ""
    groups_claim: str = "groups"


class TokenSource:
    """Identifies clients by a token: `sub` is the user, and a given user name must be the same.

    A token is shown as password, or by OAUTHBEARER, which lets a client show the next one in time.
    """

    def __init__(
        self, path: Path, terms: TokenTerms, clock: Callable[[], float] = time.time
    ) -> None:
        self._path, self._terms, self._clock = path, terms, clock
        self._keys: KeySet | None = None

    def read(self) -> KeySet:
        """Return the file's public keys (JWKS or PEM); AccessError when it has none."""
        from joserfc.errors import JoseError

        text = read_text(self._path)
        try:
            return _parse_pem(text) if text.lstrip().startswith("-----") else _parse_jwks(text)
        except (JoseError, ValueError, TypeError, KeyError, AttributeError) as exc:
            # messages of joserfc and cryptography may quote the file
            why = str(exc) if isinstance(exc, _NoKeyError) else "it holds no public keys"
            raise AccessError(self._path, [why]) from exc

    def take(self, keys: KeySet) -> None:
        """Accept tokens signed by these keys from now on."""
        self._keys = keys

    async def identify(self, credentials: Credentials) -> Identity | Refusal | None:
        """Return the identity of the token in the password; None when it is no token."""
        token = credentials.password
        if token is None or not token.startswith(JWT_START) or token.count(b".") != 2:
            return None
        claims = self._claims(token)
        user = claims.get("sub")
        if not isinstance(user, str) or credentials.username not in (None, "", user):
            return Refusal.BAD_CREDENTIALS
        ends = float(claims["exp"]) + LEEWAY_S
        return Identity(user, credentials.client_id, self._groups(claims), ends)

    def begin(self, method: str, credentials: Credentials) -> AuthExchange | None:
        """Return a run of OAUTHBEARER."""
        return BearerExchange(self.identify, credentials) if method == METHOD else None

    def _claims(self, token: bytes) -> Mapping[str, Any]:
        """Return the claims of a valid token, {} for any other."""
        from joserfc import jwt
        from joserfc.errors import JoseError

        if self._keys is None or len(token) > LIMIT_BYTES:
            return {}
        try:
            claims = jwt.decode(token, self._keys, algorithms=list(ALGORITHMS)).claims
        except (JoseError, ValueError, TypeError, KeyError):
            return {}
        now = self._clock()
        begins = claims.get("nbf", 0)
        good = (
            _is_instant(claims.get("exp"))
            and now < claims["exp"] + LEEWAY_S
            and _is_instant(begins)
            and begins - LEEWAY_S <= now
            and self._terms.issuer in ("", claims.get("iss"))
            and _is_meant_for(self._terms.audience, claims.get("aud"))
        )
        return claims if good else {}

    def _groups(self, claims: Mapping[str, Any]) -> frozenset[str]:
        groups = claims.get(self._terms.groups_claim)
        if not isinstance(groups, list):
            return frozenset()
        return frozenset(group for group in groups if isinstance(group, str))


class _NoKeyError(ValueError):
    """The reason why a file does not hold usable keys."""


def _is_instant(value: object) -> bool:
    # NaN, which JSON in Python may be, compares false to everything
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, int) or math.isfinite(value)


def _is_meant_for(audience: str, said: object) -> bool:
    return not audience or said == audience or (isinstance(said, list) and audience in said)


def _parse_jwks(text: str) -> KeySet:
    from joserfc.jwk import KeySet

    table = json.loads(text)
    keys = table.get("keys", [table])
    for key in keys:
        if key.get("kty") not in KEY_TYPES:
            raise _NoKeyError(f"keys must be of type {', '.join(KEY_TYPES)}")
        if "d" in key:
            raise _NoKeyError("it holds a private key: only the public ones belong here")
    if not keys:
        raise _NoKeyError("it holds no public keys")
    return KeySet.import_key_set({"keys": keys})


def _parse_pem(text: str) -> KeySet:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

    if "PRIVATE KEY" in text:
        raise _NoKeyError("it holds a private key: only the public ones belong here")
    match load_pem_public_key(text.encode()):
        case ec.EllipticCurvePublicKey():
            return KeySet([ECKey.import_key(text)])
        case rsa.RSAPublicKey():
            return KeySet([RSAKey.import_key(text)])
        case ed25519.Ed25519PublicKey():
            return KeySet([OKPKey.import_key(text)])
        case _:
            raise _NoKeyError(f"keys must be of type {', '.join(KEY_TYPES)}")
