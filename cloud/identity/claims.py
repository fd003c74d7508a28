"""Checks the claims of an ID token (OpenID Connect Core, 3.1.3.7)."""

from collections.abc import Mapping
from typing import Any

from cloud.identity.provider import Person
from protocol.errors import TokenError
from protocol.tokens import LATEST_S, LEEWAY_S

SUBJECT_LIMIT = 255  # OpenID Connect Core, 2: sub


def check_claims(claims: Mapping[str, Any], issuer: str, client_id: str, now: float) -> Person:
    """Return the person in verified claims; TokenError when they are not for this client now."""
    if claims.get("iss") != issuer:
        raise TokenError("cannot accept ID token: made by another issuer")
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if client_id not in audiences:
        raise TokenError("cannot accept ID token: meant for another client")
    if len(audiences) > 1 and claims.get("azp") != client_id:
        raise TokenError("cannot accept ID token: meant for several clients, asked for by another")
    expires = claims.get("exp")
    if isinstance(expires, bool) or not isinstance(expires, int | float):
        raise TokenError("cannot accept ID token: no expiry")
    if not now <= expires + LEEWAY_S or expires > LATEST_S:
        raise TokenError("cannot accept ID token: expired")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= SUBJECT_LIMIT:
        raise TokenError("cannot accept ID token: sub malformed")
    return Person(issuer, subject, client_id)
