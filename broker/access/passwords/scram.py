"""Implements the server's end of SCRAM-SHA-256 (RFC 5802, 7677), without channel binding.

Theory of operation
-------------------
The client names a user and a nonce, the server answers with salt, iterations and a longer nonce;
the client proves that it knows the password, and the server proves that it knew it before. The
stored keys do not suffice for a login. An unknown user is answered like a known one, with a salt
that stays the same, and fails where a wrong password fails.
"""

import base64
import binascii
import hashlib
import hmac
import re
import stringprep
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

METHOD = "SCRAM-SHA-256"
NONCE_BYTES = 18  # base64 of it has no padding; RFC 5802 leaves the length to us
MIN_ITERATIONS = 4096  # RFC 7677, section 4
MAX_DIGITS = 10
MESSAGE_BYTES = 2048  # longer than any with names that MQTT knows and nonces in use

# the client's first message: GS2 header, then what both sides sign. A reserved "m=" does not match
_NONCE = r"r=(?P<nonce>[!-+\--~]+)"  # printable ASCII without the comma
_MORE = r"(?:,[A-Za-z]=[^,]+)*"  # extensions, which RFC 5802 has ignored
_FIRST = re.compile(
    rf"(?P<gs2>[ny],(?:a=(?P<as>[^,]+))?,)(?P<bare>n=(?P<user>[^,]+),{_NONCE}{_MORE})"
)
_FINAL = re.compile(rf"(?P<signed>c=(?P<binding>[^,]+),{_NONCE}{_MORE}),p=(?P<proof>[^,]+)")
_ESCAPED = re.compile("=(2C|3D)?")

_FORBIDDEN = (
    stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3,
    stringprep.in_table_c4, stringprep.in_table_c5, stringprep.in_table_c6, stringprep.in_table_c7,
    stringprep.in_table_c8, stringprep.in_table_c9, stringprep.in_table_a1,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """The stored form of a password."""

    iterations: int
    salt: bytes
    stored_key: bytes
    server_key: bytes

    def is_of(self, password: bytes) -> bool:
        """Return whether this is the password; takes long on purpose."""
        try:
            prepared = prepare(password.decode())
        except ValueError:
            return False
        found = derive_keys(prepared, self.salt, self.iterations)
        return hmac.compare_digest(found.stored_key, self.stored_key)

    def __str__(self) -> str:
        kept = (_encode(each) for each in (self.salt, self.stored_key, self.server_key))
        return "$".join(("", "scram-sha-256", str(self.iterations), *kept))

    def __repr__(self) -> str:
        return f"ScramKeys({self.iterations}, ***)"


def derive_keys(prepared: str, salt: bytes, iterations: int) -> ScramKeys:
    """Return what to keep of a prepared password; takes long on purpose."""
    salted = hashlib.pbkdf2_hmac("sha256", prepared.encode(), salt, iterations)
    stored_key = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
    return ScramKeys(iterations, salt, stored_key, _hmac(salted, b"Server Key"))


def prepare(text: str) -> str:
    """Return a name or password as SASLprep (RFC 4013) has it; ValueError if it forbids it."""
    spaced = "".join(" " if stringprep.in_table_c12(each) else each for each in text)
    kept = "".join(each for each in spaced if not stringprep.in_table_b1(each))
    prepared = unicodedata.normalize("NFKC", kept)
    if any(is_in(each) for each in prepared for is_in in _FORBIDDEN):
        raise ValueError("it has a character that SASLprep forbids")
    if any(stringprep.in_table_d1(each) for each in prepared):  # right to left, section 2.3
        ends = (prepared[0], prepared[-1])
        if not all(map(stringprep.in_table_d1, ends)) or any(map(stringprep.in_table_d2, prepared)):
            raise ValueError("it mixes directions of writing as SASLprep forbids")
    return prepared


def check_prepared(user: str) -> None:
    """Raise ValueError when a client would write a name in another way."""
    if prepare(user) != user:
        raise ValueError(f"SCRAM clients would write {user!r} as {prepare(user)!r}")


class _Expects(Enum):
    FIRST = "the client's first message"
    FINAL = "the client's final message"
    NOTHING = "nothing"


class Scram:
    """One exchange; find_keys gives keys for every name, also for those nobody has."""

    def __init__(self, nonce: str, find_keys: Callable[[str], ScramKeys]) -> None:
        self.user = ""  # the user that the client claims to be
        self.failed = False
        self._expects = _Expects.FIRST
        self._nonce = nonce
        self._find_keys = find_keys
        self._keys: ScramKeys | None = None
        self._binding = ""
        self._signed = ""

    @property
    def has_begun(self) -> bool:
        """True when the client has sent its first message."""
        return self._expects is not _Expects.FIRST

    @property
    def is_proven(self) -> bool:
        """True when the client has proved to be that user."""
        return self._expects is _Expects.NOTHING and not self.failed

    def receive(self, message: bytes) -> bytes:
        """Take a message, return the answer; b"" once it has failed."""
        if self._expects is _Expects.NOTHING:
            self.failed = True
            return b""
        try:
            text = message.decode() if len(message) <= MESSAGE_BYTES else ""
            if self._expects is _Expects.FIRST:
                self._expects = _Expects.FINAL
                return self._first(text).encode()
            self._expects = _Expects.NOTHING
            return self._final(text).encode()
        except ValueError:  # UTF-8 and base64 that are none, too
            self._expects = _Expects.NOTHING
            self.failed = True
            return b""

    def _first(self, text: str) -> str:
        found = _FIRST.fullmatch(text)
        if found is None:
            raise ValueError("no first message")
        self.user = prepare(_unescape(found["user"]))
        if found["as"] is not None and prepare(_unescape(found["as"])) != self.user:
            raise ValueError("an authorization identity is not supported")
        keys = self._keys = self._find_keys(self.user)
        self._nonce = found["nonce"] + self._nonce
        self._binding = found["gs2"]
        answer = f"r={self._nonce},s={_encode(keys.salt)},i={keys.iterations}"
        self._signed = f"{found['bare']},{answer}"
        return answer

    def _final(self, text: str) -> str:
        found, keys = _FINAL.fullmatch(text), self._keys
        if found is None or keys is None:
            raise ValueError("no final message")
        if found["binding"] != _encode(self._binding.encode()):
            raise ValueError("another header than in the first message")
        is_same = hmac.compare_digest(found["nonce"].encode(), self._nonce.encode())
        signed = f"{self._signed},{found['signed']}".encode()
        proof = base64.b64decode(found["proof"], validate=True)
        signature = _hmac(keys.stored_key, signed)
        if not is_same or len(proof) != len(signature):
            raise ValueError("another nonce, or no proof")
        client_key = bytes(one ^ other for one, other in zip(proof, signature, strict=True))
        if not hmac.compare_digest(hashlib.sha256(client_key).digest(), keys.stored_key):
            raise ValueError("another password")
        return f"v={_encode(_hmac(keys.server_key, signed))}"


def parse_keys(parts: tuple[str, str, str, str], limit: int) -> ScramKeys:
    """Return what ScramKeys writes between its $; ValueError when it is no good."""
    iterations, *kept = parts
    if not iterations.isascii() or not iterations.isdigit():
        raise ValueError("iterations are not a number")
    if len(iterations) > MAX_DIGITS or not MIN_ITERATIONS <= int(iterations) <= limit:
        raise ValueError(f"iterations must be from {MIN_ITERATIONS} to {limit}")
    try:
        found = [base64.b64decode(each, validate=True) for each in kept]
    except binascii.Error as exc:
        raise ValueError("salt or key is not base64") from exc
    if len(found[0]) < 8 or {len(found[1]), len(found[2])} != {hashlib.sha256().digest_size}:
        raise ValueError("salt or key has not its length")
    return ScramKeys(int(iterations), *found)


def _unescape(name: str) -> str:
    def put_back(found: re.Match[str]) -> str:
        if found[1] is None:
            raise ValueError("a bare = in a name")
        return "," if found[1] == "2C" else "="

    return _ESCAPED.sub(put_back, name)


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _encode(value: bytes) -> str:
    return base64.b64encode(value).decode()
