"""Signs images with Ed25519, and verifies their signatures.

A signature covers the content digest of an image, not its archive: packing, compressing or
copying an image to another node keeps the signature valid. The archive carries it as the file
signature.json beside manifest.json, or an OCI manifest as the annotation ANNOTATION:

    {"digest": "sha256:…", "signatures": [{"key": "ed25519:…", "signature": "…"}]}

Keys and signatures are base64url without padding, of 32 and 64 bytes. The signed bytes are
"hecate image signature 1", a line feed, the digest, a line feed.

The content digest is the SHA-256 of what `sha256sum` prints for all files, sorted by the bytes of
their names; it can be computed without this program.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Set
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway.services.errors import ImageError
from protocol.ids import decode_base64url, encode_base64url

SIGNATURE_NAME = "signature.json"
ANNOTATION = "io.hecate.signature"
SIGNATURE_LIMIT_BYTES = 16 * 1024
SIGNATURES_LIMIT = 8  # of one image: an old and a new key, and those of several persons
KEY_PREFIX = "ed25519:"
KEY_FILE_LIMIT_BYTES = 16 * 1024

_KEY = re.compile(r"ed25519:[A-Za-z0-9_-]{43}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def content_digest(files: Iterable[tuple[str, str]]) -> str:
    """Return sha256:… of an image's content, given (path, SHA-256 in hexadecimal) of each file."""
    digest = hashlib.sha256()
    for path, sha256 in sorted(files, key=lambda file: file[0].encode()):
        digest.update(f"{sha256}  {path}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def sign_digest(digest: str, keys: Iterable[Ed25519PrivateKey]) -> str:
    """Return the text of signature.json for a content digest."""
    signatures = [
        {
            "key": format_key(key.public_key()),
            "signature": encode_base64url(key.sign(_signed_bytes(digest))),
        }
        for key in keys
    ]
    return json.dumps({"digest": digest, "signatures": signatures}, separators=(",", ":"))


def verify_signature(text: str, digest: str) -> frozenset[str]:
    """Return the keys that signed a content digest, "ed25519:…" each.

    Raises:
        ImageError: the text is no signature of this digest; one wrong signature refuses all.
    """
    try:
        table = json.loads(text)
        signed, rows = table["digest"], table["signatures"]
        if not isinstance(rows, list) or not 0 < len(rows) <= SIGNATURES_LIMIT:
            raise _refusal(f"it has not 1 to {SIGNATURES_LIMIT} signatures")
        pairs = [(str(row["key"]), str(row["signature"])) for row in rows]
    except (ValueError, LookupError, TypeError, RecursionError) as exc:
        raise _refusal("it is malformed") from exc
    if signed != digest:
        raise _refusal(f"it is of another content, {signed!s:.19}…")
    for key, signature in pairs:
        _verify(key, signature, digest)
    return frozenset(key for key, _ in pairs)


def describe_signers(text: str) -> list[str]:
    """Return the keys named in a stored signature, for the API; it was verified when it came."""
    return [str(row["key"]) for row in json.loads(text)["signatures"]] if text else []


def check_trust(signers: Set[str], trusted: Set[str], *, required: bool) -> None:
    """Return if an image with valid signatures by these keys may be used; ImageError if not."""
    if not required or signers & trusted:
        return
    if not signers:
        raise ImageError(
            "cannot accept image: it is not signed by one of [services] trusted_keys; "
            "`hecate build --sign KEY` signs it"
        )
    raise ImageError(
        f"cannot accept image: signed by {', '.join(sorted(signers))}, which is none of "
        "[services] trusted_keys"
    )


def format_key(key: Ed25519PublicKey) -> str:
    """Return the short text of a public key: "ed25519:…"."""
    return f"{KEY_PREFIX}{encode_base64url(key.public_bytes_raw())}"


def read_public_key(text: str) -> str:
    """Return the short text of a public key, given that text or PEM; ValueError for others."""
    stripped = text.strip()
    if _KEY.fullmatch(stripped):
        return stripped
    try:
        key = serialization.load_pem_public_key(stripped.encode())
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise ValueError("must be ed25519:… or a public key in PEM") from exc
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("must be an Ed25519 key")  # noqa: TRY004  # of a text, not of a type
    return format_key(key)


def read_private_key(pem: bytes) -> Ed25519PrivateKey:
    """Return the private key in PEM (PKCS #8); ValueError for others."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise ValueError("must be a private key in PEM, without a password") from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("must be an Ed25519 key")  # noqa: TRY004  # of a text, not of a type
    return key


def load_trusted_keys(entries: Iterable[str]) -> frozenset[str]:
    """Return the keys in [services] trusted_keys: texts of keys, or paths of files with one each.

    Raises:
        ValueError: "trusted_keys: <entry>: why".
    """
    keys = set()
    for entry in entries:
        try:
            if entry.startswith(KEY_PREFIX):
                keys.add(read_public_key(entry))
            else:
                with Path(entry).expanduser().open(encoding="ascii") as file:
                    keys.add(read_public_key(file.read(KEY_FILE_LIMIT_BYTES)))
        except (OSError, ValueError) as exc:
            why = exc.strerror if isinstance(exc, OSError) else str(exc)
            raise ValueError(f"trusted_keys: {entry:.200}: {why}") from exc
    return frozenset(keys)


def _verify(key: str, signature: str, digest: str) -> None:
    if not _KEY.fullmatch(key):
        raise _refusal(f"{key!r:.60} is not an Ed25519 key")
    try:
        public = Ed25519PublicKey.from_public_bytes(decode_base64url(key[len(KEY_PREFIX) :]))
        public.verify(decode_base64url(signature), _signed_bytes(digest))
    except (InvalidSignature, ValueError) as exc:
        raise _refusal(f"it was not made with key {key}") from exc


def _signed_bytes(digest: str) -> bytes:
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"cannot sign {digest!r:.80}: not a digest")
    return f"hecate image signature 1\n{digest}\n".encode()


def _refusal(why: str) -> ImageError:
    return ImageError(f"cannot accept the image's signature: {why}")
