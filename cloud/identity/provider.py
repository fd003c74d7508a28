"""Defines the interface of an identity provider."""

import json
from dataclasses import dataclass
from typing import Protocol

from joserfc.jws import extract_compact

from protocol.errors import TokenError
from protocol.tokens import LIMIT_CHARACTERS, MALFORMED


@dataclass(frozen=True, slots=True)
class Person:
    """A person as a provider names them; issuer and subject never change."""

    issuer: str
    subject: str
    client_id: str


class Provider(Protocol):
    """Verifies ID tokens."""

    @property
    def issuer(self) -> str:
        """Return the iss claim of this provider's ID tokens."""

    async def verify(self, id_token: str, now: float) -> Person:
        """Return the person that an ID token names; TokenError when it is not valid."""


def issuer_of(id_token: str) -> str:
    """Return the unverified issuer of an ID token, only to find its provider."""
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
