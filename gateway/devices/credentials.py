"""Makes the tokens of devices and their digests; only the digests are stored.

The tokens are random and long, so a plain hash suffices: a slow hash protects passwords that people
choose.
"""

import hashlib
import hmac
import secrets

from settings.secret import Secret

TOKEN_BYTES = 18  # 144 random bits, 24 characters


def new_token() -> Secret:
    """Return a new random token."""
    return Secret(secrets.token_urlsafe(TOKEN_BYTES))


def new_code(digits: int) -> str:
    """Return random decimal digits."""
    return f"{secrets.randbelow(10**digits):0{digits}}"


def digest_of(token: bytes) -> str:
    """Return the digest of a token."""
    return hashlib.sha256(token).hexdigest()


def is_token(token: bytes, digest: str) -> bool:
    """Return whether a token has a digest."""
    return hmac.compare_digest(digest_of(token), digest)
