"""Plays the client's end of SCRAM-SHA-256."""

import base64
import hashlib
import hmac
import re


def prove(challenge: bytes, first: bytes, password: str) -> tuple[bytes, bytes]:
    """Return a client's final message, and what the server must answer."""
    found = re.fullmatch(rb"(r=[^,]+),s=([^,]+),i=(\d+)", challenge)
    assert found is not None
    salted = hashlib.pbkdf2_hmac(
        "sha256", password.encode(), base64.b64decode(found[2]), int(found[3])
    )
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    signed = b",".join((first.removeprefix(b"n,,"), challenge, b"c=biws", found[1]))
    stored = hashlib.sha256(client_key).digest()
    signature = hmac.digest(stored, signed, "sha256")
    proof = bytes(one ^ other for one, other in zip(client_key, signature, strict=True))
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    answer = b"v=" + base64.b64encode(hmac.digest(server_key, signed, "sha256"))
    return b"c=biws," + found[1] + b",p=" + base64.b64encode(proof), answer
