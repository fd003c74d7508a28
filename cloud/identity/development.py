"""Provides one built-in user for development and offline use: one password, no console.

The provider is off unless `[mid] development = true`.
"""

import hmac

from joserfc.jwk import ECKey, KeySet

from cloud.identity.provider import Person
from protocol.errors import TokenError
from protocol.tokens import sign_token, verify_token
from settings.secret import Secret

ISSUER = "hecate-development"
CLIENT_ID = "hecate-development"
USER = "dev"
ID_TOKEN_TTL_S = 3600.0


class DevelopmentProvider:
    """Verifies the user `dev`."""

    issuer = ISSUER

    def __init__(self, key: ECKey, password: Secret) -> None:
        self._key, self._password = key, password
        self._published = KeySet([key])

    def log_in(self, username: str, password: str, now: float) -> str:
        """Return an ID token; TokenError when user or password are wrong."""
        good = hmac.compare_digest(password.encode(), self._password.reveal().encode())
        if username != USER or not good:
            raise TokenError("cannot log in: wrong user or password")
        claims = {"iss": ISSUER, "aud": CLIENT_ID, "sub": USER}
        return sign_token(claims, self._key, now, ID_TOKEN_TTL_S)

    async def verify(self, id_token: str, now: float) -> Person:
        """Return the person that an ID token names; TokenError when it is not valid."""
        claims = verify_token(id_token, self._published, CLIENT_ID, now)
        if claims.get("iss") != ISSUER or claims.get("sub") != USER:
            raise TokenError("cannot accept ID token: not made by the development provider")
        return Person(ISSUER, USER, CLIENT_ID)
