"""Makes and checks codes with which members of an account open BEPs at each other, offline."""

import hashlib
import hmac
import re

from protocol.errors import TokenError
from protocol.ids import encode_base64url

REQUEST_BEP = "jsapi://requestBep"
MAX_TTL_S = 25 * 3600  # callers ask for a day and five minutes
MILLISECONDS_FROM = 10**11  # some callers send milliseconds; in seconds this is the year 5138

_CODE = re.compile(r"(\d{1,12})\.([A-Za-z0-9_-]{43})", re.ASCII)


def expiry_seconds(value: int) -> int:
    """Return an expiry in unix seconds, given seconds or milliseconds."""
    return value // 1000 if value > MILLISECONDS_FROM else value


def make_code(account_key: bytes, expires: int, node_id: str, operation: str) -> str:
    """Return a code for one operation on one node until expires (unix seconds)."""
    digest = hmac.digest(account_key, f"{expires}|{node_id}|{operation}".encode(), hashlib.sha256)
    return f"{expires}.{encode_base64url(digest)}"


def check_code(code: str, account_key: bytes, node_id: str, operation: str, now: float) -> None:
    """Return if the code allows the operation on the node now; TokenError if not."""
    match = _CODE.fullmatch(code)
    if match is None:
        raise TokenError("cannot accept code: malformed")
    expires = int(match[1])
    if not hmac.compare_digest(code, make_code(account_key, expires, node_id, operation)):
        raise TokenError("cannot accept code: not made for this node, operation and account")
    if now > expires:
        raise TokenError("cannot accept code: expired")
    if expires > now + MAX_TTL_S:
        raise TokenError("cannot accept code: valid for more than 25 hours")
