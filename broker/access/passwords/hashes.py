"""Makes, reads and checks hashed passwords, one `user:hash` a line.

Written is scrypt as a PHC string, $scrypt$ln=14,r=8,p=5$salt$hash, or what SCRAM-SHA-256 needs,
$scram-sha-256$iterations$salt$stored key$server key. Read are also the two kinds of Mosquitto:
$6$salt$hash (SHA-512 once, not crypt's) and $7$iterations$salt$hash (PBKDF2).
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Container
from dataclasses import dataclass
from typing import Protocol

from broker.access.errors import AccessProblem
from broker.access.passwords.scram import MIN_ITERATIONS, derive_keys, parse_keys, prepare
from broker.access.rights.rules import ANONYMOUS

KIB = 1024
SALT_BYTES = 16
DIGEST_BYTES = 32
MAX_MEMORY_BYTES = 64 * KIB * KIB  # a line of a file must not take the machine's memory
MAX_LANES = 16
MAX_ITERATIONS = 5_000_000  # seconds of a processor; Mosquitto writes 101 by itself
MAX_PASSWORD_BYTES = 1024

_SCRYPT = re.compile(r"ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})")


@dataclass(frozen=True, slots=True)
class ScryptCost:
    """The memory cost of one check: 2^log2_n * block * 128 bytes, times lanes."""

    log2_n: int
    block: int
    lanes: int

    @property
    def memory_bytes(self) -> int:
        """The memory in use while one password is checked."""
        return 128 * self.block << self.log2_n


# OWASP Password Storage Cheat Sheet: N=2^14, r=8, p=5 is as strong as 2^17, 8, 1, in 16 MiB
CHOSEN = ScryptCost(14, 8, 5)
# for 128 random bits, which no cost would protect better: all devices come back at once
GENERATED = ScryptCost(10, 8, 1)


@dataclass(frozen=True, slots=True)
class ScramCost:
    """The cost of one check against SCRAM keys; clients pay it too."""

    iterations: int


# the same two: OWASP's for PBKDF2-HMAC-SHA256, and the least that RFC 7677 allows
SCRAM_CHOSEN = ScramCost(600_000)
SCRAM_GENERATED = ScramCost(MIN_ITERATIONS)


class PasswordHash(Protocol):
    """The stored form of a password."""

    def is_of(self, password: bytes) -> bool:
        """Return whether this is the password; takes long on purpose."""


@dataclass(frozen=True, slots=True)
class Scrypt:
    """Our own."""

    cost: ScryptCost
    salt: bytes
    digest: bytes

    def is_of(self, password: bytes) -> bool:
        """Return whether this is the password; takes long on purpose."""
        return hmac.compare_digest(_scrypt(password, self.salt, self.cost), self.digest)

    def __str__(self) -> str:
        cost = f"ln={self.cost.log2_n},r={self.cost.block},p={self.cost.lanes}"
        return f"$scrypt${cost}${_encode(self.salt)}${_encode(self.digest)}"


@dataclass(frozen=True, slots=True)
class Pbkdf2:
    """Mosquitto's $7$."""

    iterations: int
    salt: bytes
    digest: bytes

    def is_of(self, password: bytes) -> bool:
        """Return whether this is the password."""
        found = hashlib.pbkdf2_hmac("sha512", password, self.salt, self.iterations)
        return hmac.compare_digest(found, self.digest)


@dataclass(frozen=True, slots=True)
class Sha512:
    """Mosquitto's $6$."""

    salt: bytes
    digest: bytes

    def is_of(self, password: bytes) -> bool:
        """Return whether this is the password."""
        found = hashlib.sha512(password + self.salt).digest()
        return hmac.compare_digest(found, self.digest)


def hash_password(password: bytes, salt: bytes, cost: ScryptCost = CHOSEN) -> Scrypt:
    """Return what to keep of a password."""
    return Scrypt(cost, salt, _scrypt(password, salt, cost))


def keep_password(password: str, salt: bytes, cost: ScryptCost | ScramCost) -> PasswordHash:
    """Return what to keep of a password; ValueError if it cannot be kept so."""
    if isinstance(cost, ScramCost):
        return derive_keys(prepare(password), salt, cost.iterations)
    return hash_password(password.encode(), salt, cost)


def parse_passwords(text: str) -> tuple[dict[str, PasswordHash], list[AccessProblem]]:
    """Return each user's hash, and what is wrong; a line with a problem lets nobody in."""
    users: dict[str, PasswordHash] = {}
    problems: list[AccessProblem] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            user, kept = _parse_line(line.rstrip(), users)
        except ValueError as exc:
            problems.append(AccessProblem(f"line {number}", str(exc)))
        else:
            users[user] = kept
    return users, problems


def check_user(user: str) -> None:
    """Raise ValueError when nobody can have this name in a password file."""
    if not user or ":" in user or user.startswith("#") or not user.isprintable():
        raise ValueError(f"{user!r} is no name of a user")
    if user != user.strip():
        raise ValueError(f"{user!r} begins or ends with a space")
    if user == ANONYMOUS:
        raise ValueError(f"{ANONYMOUS} is the name of clients without a user")


def parse_hash(text: str) -> PasswordHash:
    """Return what a line keeps of a password; ValueError when it is nothing known."""
    match text.split("$"):
        case ["", "scrypt", cost, salt, digest]:
            return _parse_scrypt(cost, salt, digest)
        case ["", "7", iterations, salt, digest]:
            if not iterations.isascii() or not iterations.isdigit():
                raise ValueError("iterations are not a number")
            if not 1 <= int(iterations[:10]) <= MAX_ITERATIONS:
                raise ValueError(f"iterations must be from 1 to {MAX_ITERATIONS}")
            return Pbkdf2(int(iterations), _decode(salt, 8), _decode(digest, 64, exactly=True))
        case ["", "6", salt, digest]:
            return Sha512(_decode(salt, 8), _decode(digest, 64, exactly=True))
        case ["", "scram-sha-256", iterations, salt, stored_key, server_key]:
            return parse_keys((iterations, salt, stored_key, server_key), MAX_ITERATIONS)
        case _:
            raise ValueError("hash is not of a known kind ($scrypt$, $scram-sha-256$, $6$ or $7$)")


def _parse_line(line: str, others: Container[str]) -> tuple[str, PasswordHash]:
    user, colon, kept = line.partition(":")
    if not colon:
        raise ValueError("must be USER:HASH")
    check_user(user)
    if user in others:
        raise ValueError(f"user {user} comes twice")
    return user, parse_hash(kept)


def _parse_scrypt(text: str, salt: str, digest: str) -> Scrypt:
    found = _SCRYPT.fullmatch(text)
    if found is None:
        raise ValueError("parameters must be like ln=14,r=8,p=5")
    cost = ScryptCost(*(int(each) for each in found.groups()))
    if not (cost.log2_n >= 1 and cost.block >= 1 and 1 <= cost.lanes <= MAX_LANES):
        raise ValueError(f"parameters {text} are out of range")
    if cost.memory_bytes > MAX_MEMORY_BYTES:
        raise ValueError(f"parameters {text} take more than {MAX_MEMORY_BYTES} bytes of memory")
    return Scrypt(cost, _decode(salt, 8), _decode(digest, DIGEST_BYTES, exactly=True))


def _scrypt(password: bytes, salt: bytes, cost: ScryptCost) -> bytes:
    return hashlib.scrypt(
        password,
        salt=salt,
        n=1 << cost.log2_n,
        r=cost.block,
        p=cost.lanes,
        maxmem=2 * MAX_MEMORY_BYTES,
        dklen=DIGEST_BYTES,
    )


def _encode(value: bytes) -> str:
    return base64.b64encode(value).decode().rstrip("=")


def _decode(text: str, length: int, *, exactly: bool = False) -> bytes:
    try:
        value = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as exc:
        raise ValueError("salt or hash is not base64") from exc
    if len(value) < length or (exactly and len(value) != length):
        raise ValueError(f"salt or hash is {len(value)} bytes and must be {length}")
    return value
