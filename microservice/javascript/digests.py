"""Calculates the hashes and HMACs of crypto.subtle, which are too slow in the engine."""

import base64
import hashlib
import hmac
from typing import Any

from microservice.errors import ServiceError

DIGEST = "crypto.digest"
_HASHES = {"SHA-1": "sha1", "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}


async def answer_digest(frame: dict[str, Any]) -> dict[str, Any]:
    """Return the hash of data, or its HMAC when there is a key; ServiceError for unknown hashes."""
    name = _HASHES.get(frame["hash"])
    if name is None:
        known = ", ".join(_HASHES)
        raise ServiceError(f"cannot calculate {frame['hash']!r:.40}: only {known}")
    data = base64.b64decode(frame["base64"], validate=True)
    if "key" in frame:
        digest = hmac.digest(base64.b64decode(frame["key"], validate=True), data, name)
    else:
        digest = hashlib.new(name, data).digest()
    return {"base64": base64.b64encode(digest).decode()}
