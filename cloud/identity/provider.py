"""Defines what mID needs of an identity provider."""

import json
from dataclasses import dataclass
from typing import Protocol

from joserfc.jws import extract_compact

from protocol.errors import TokenError
from protocol.tokens import LIMIT_CHARACTERS, MALFORMED


@dataclass(frozen=True, slots=True)
class Person:
    """Someone as a provider names them; the pair never changes."""

    issuer: str
    subject: str
    client_id: str


class Provider(Protocol):
    """Knows whether an ID token is genuine."""

    @property
    def issuer(self) -> str:
        """Return the iss claim of this provider's ID tokens."""

    async def verify(self, id_token: str, now: float) -> Person:
        """Return whom an ID token names; TokenError when it does not hold."""


def issuer_of(id_token: str) -> str:
    """Return who claims to have made an ID token, unverified: only to find its provider."""
    if len(id_token) > LIMIT_CHARACTERS:
        raise TokenError("cannot accept ID token: too long")
    try:
        claims = json.loads(extract_compact(id_token.encode()).payload)
        issuer = claims["iss"]
    except MALFORMED as exc:
        raise TokenError("cannot accept ID token: malformed") from exc
    if not isinstance(issuer, str):
        raise TokenError("cannot accept ID token: malformed")
    return issuer
