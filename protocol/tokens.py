"""Signs and verifies short-lived ES256 JWTs, by a published key or by the key in the token."""

import json
import secrets
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from protocol.errors import TokenError
from protocol.keys import NodeKey, public_key_id

ALGORITHM = "ES256"
LEEWAY_S = 30  # clocks of gateways without a battery-backed clock drift
LIMIT_CHARACTERS = 8192
LATEST_S = 1e11  # in the year 5138: beyond, sums of times lose seconds
# raised by decoding: the JSON of a peer nests too deep, or has numbers of 5,000 digits
MALFORMED = (JoseError, ValueError, TypeError, KeyError, RecursionError, OverflowError)

Claims = dict[str, Any]


def sign_token(claims: Mapping[str, Any], key: ECKey, now: float, ttl_s: float) -> str:
    """Return a token signed by a service; the header names the key by its thumbprint."""
    header = {"alg": ALGORITHM, "typ": "JWT", "kid": key.thumbprint()}
    return jwt.encode(header, _stamped(claims, now, ttl_s), key, algorithms=[ALGORITHM])


def verify_token(token: str, keys: KeySet, audience: str, now: float) -> Claims:
    """Return the claims of a service's token.

    Raises:
        TokenError: malformed, forged, expired, or meant for another audience.
    """
    if len(token) > LIMIT_CHARACTERS:
        raise TokenError("cannot accept token: too long")
    try:
        decoded = jwt.decode(token, keys, algorithms=[ALGORITHM])
    except MALFORMED as exc:
        raise TokenError("cannot accept token: malformed or not signed by a known key") from exc
    return _checked(decoded.claims, audience, now)


def sign_as_node(claims: Mapping[str, Any], key: NodeKey, now: float, ttl_s: float) -> str:
    """Return a token signed by a node; the header carries the node's public key."""
    jwk = ECKey.import_key(key.private)
    header = {"alg": ALGORITHM, "typ": "JWT", "jwk": jwk.as_dict(private=False)}
    return jwt.encode(header, _stamped(claims, now, ttl_s), jwk, algorithms=[ALGORITHM])


def verify_from_node(
    token: str, audience: str, now: float, limit: int = LIMIT_CHARACTERS
) -> tuple[str, Claims]:
    """Return the node id that signed a token of at most limit characters, and its claims.

    The key comes with the token; what makes it trustworthy is that its hash is the node id.

    Raises:
        TokenError: malformed, forged, expired, or meant for another audience.
    """
    if len(token) > limit:
        raise TokenError("cannot accept token: too long")
    try:
        key = _carried_key(token)
        decoded = jwt.decode(token, key, algorithms=[ALGORITHM])
    except MALFORMED as exc:
        raise TokenError("cannot accept token: malformed or not signed by its key") from exc
    public = key.public_key
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise TokenError("cannot accept token: not a P-256 key")
    return public_key_id(public), _checked(decoded.claims, audience, now)


def check_carriable(claims: Mapping[str, Any]) -> None:
    """Raise TokenError for claims that Python's JSON allows but UTF-8 or a database does not."""
    try:
        json.dumps(claims, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as exc:  # NaN, half of a surrogate pair, deep nesting
        raise TokenError("cannot accept token: its claims are malformed") from exc


def _carried_key(token: str) -> ECKey:
    from joserfc.jws import extract_compact

    header = extract_compact(token.encode()).headers()
    return ECKey.import_key({"kty": "EC", "crv": "P-256"} | _public_part(header["jwk"]))


def _public_part(jwk: Mapping[str, Any]) -> dict[str, Any]:
    return {name: jwk[name] for name in ("kty", "crv", "x", "y")}


def _stamped(claims: Mapping[str, Any], now: float, ttl_s: float) -> Claims:
    return {"jti": secrets.token_hex(8), "iat": int(now), "exp": int(now + ttl_s), **claims}


def _checked(claims: Claims, audience: str, now: float) -> Claims:
    check_carriable(claims)
    expires = claims.get("exp")
    if not isinstance(expires, int | float) or isinstance(expires, bool):
        raise TokenError("cannot accept token: no expiry")
    if abs(expires) > LATEST_S:
        raise TokenError("cannot accept token: expiry out of range")
    if not now <= expires + LEEWAY_S:
        raise TokenError("cannot accept token: expired")
    if claims.get("aud") != audience:
        raise TokenError(f"cannot accept token: not meant for {audience!r}")
    return claims
