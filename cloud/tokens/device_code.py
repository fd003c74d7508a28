"""Makes the codes of device authorisation (RFC 8628), and describes a grant that waits. Pure."""

import hashlib
import secrets
from dataclasses import dataclass

from cloud.tokens.access import ASSOCIATE

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"
OFFERED = (ASSOCIATE,)  # a node without a keyboard may join the account, no more
LIFE_S = 600.0
INTERVAL_S = 2.0  # between two questions of a node
SLOWER_S = 5.0  # RFC 8628, 3.5: what slow_down adds
GRANT_LIMIT = 10_000  # all that wait; one of each node

# RFC 8628, 6.1: no vowels, so no words; easy to tell apart. 8 of 20 letters are 34 bits, and
# wrong ones are counted
LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
USER_CODE_LETTERS = 8


@dataclass(frozen=True, slots=True)
class DeviceGrant:
    """A node's wish to join whoever types its code."""

    device_digest: str
    user_code: str
    node_id: str
    node_name: str
    scope: str
    expires_at: float
    account_id: str = ""  # of who approved it
    denied: bool = False


def new_device_code() -> str:
    """Return a code that only the node knows."""
    return secrets.token_urlsafe(32)


def digest_of(device_code: str) -> str:
    """Return how a device code is stored."""
    return hashlib.sha256(device_code.encode()).hexdigest()


def new_user_code() -> str:
    """Return a code for a person to type."""
    return "".join(secrets.choice(LETTERS) for _ in range(USER_CODE_LETTERS))


def show(user_code: str) -> str:
    """Return a user code as it is shown."""
    half = USER_CODE_LETTERS // 2
    return f"{user_code[:half]}-{user_code[half:]}"


def normalise(typed: str) -> str:
    """Return a user code as it is stored, from what a person typed."""
    return "".join(char for char in typed.upper() if char in LETTERS)
