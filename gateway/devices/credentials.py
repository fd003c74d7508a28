"""Makes the tokens of devices and their digests; only the digests are stored.

The tokens are random and long, so a plain hash suffices: a slow hash protects passwords that people
choose. Over links without IP the digest is the key that a device and its gateway share. So a digest
never stands in a log or in the name of an identity: its id does, which tells nothing of it.
"""

import hashlib
import hmac
import secrets

from settings.secret import Secret

TOKEN_BYTES = 18  # 144 random bits, 24 characters
KEY_ID_BYTES = 8
KEY_ID_LABEL = b"hecate chunks 1 key id"


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


def key_id(digest: str) -> str:
    """Return the id of the digest of a token."""
    return hmac.digest(bytes.fromhex(digest), KEY_ID_LABEL, "sha256")[:KEY_ID_BYTES].hex()


def has_id(digest: str, wanted: str) -> bool:
    """Return whether a digest has an id."""
    return hmac.compare_digest(key_id(digest).encode(), wanted.encode())
