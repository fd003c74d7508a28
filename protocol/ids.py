"""Makes and recognises ids of nodes, devices, accounts and BEPs."""

import base64
import hashlib
import re
import secrets

NODE_ID = re.compile(r"[0-9a-f]{56}")
DEVICE_ID = re.compile(r"dev-[0-9a-f]{12}")
ACCOUNT_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
BEP_ID = re.compile(r"[A-Za-z0-9_-]{22}")

_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")


def node_id_of(public_key_der: bytes) -> str:
    """Return the self-certifying id of a DER SubjectPublicKeyInfo."""
    return hashlib.sha224(public_key_der).hexdigest()


def new_device_id() -> str:
    """Return a new device id."""
    return f"dev-{secrets.token_hex(6)}"


def new_bep_id() -> str:
    """Return a BEP id of 128 random bits that does not look like an option of a command."""
    while (bep_id := encode_base64url(secrets.token_bytes(16))).startswith("-"):
        pass
    return bep_id


def new_run_id() -> str:
    """Return a name for one run of a node's process."""
    return encode_base64url(secrets.token_bytes(12))


def encode_base64url(data: bytes) -> str:
    """Return base64url without padding (RFC 7515, 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode_base64url(text: str) -> bytes:
    """Return the bytes of unpadded base64url; ValueError when it is not that."""
    if not _BASE64URL.fullmatch(text):
        raise ValueError("not base64url")
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_")
