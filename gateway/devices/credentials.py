"""Tokens that devices show; only their digests are kept.

They are random and long, so a plain hash is enough: there is nothing to guess (a slow hash is
for what people choose).
"""

import hashlib
import hmac
import secrets

from settings.secret import Secret

TOKEN_BYTES = 18  # 144 random bits, 24 characters


def new_token() -> Secret:
    """Return a token no one has."""
    return Secret(secrets.token_urlsafe(TOKEN_BYTES))


def digest_of(token: bytes) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(token).hexdigest()


def is_token(token: bytes, digest: str) -> bool:
    """Return whether a token is the one of a digest."""
    return hmac.compare_digest(digest_of(token), digest)
