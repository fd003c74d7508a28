"""Authenticates users of a password file: checks in threads, a few at once, and remembers them."""

import asyncio
import hashlib
import hmac
import logging
import secrets
from collections.abc import Awaitable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from broker.access.errors import AccessError
from broker.access.passwords.hashes import MAX_PASSWORD_BYTES, PasswordHash, parse_passwords
from broker.access.passwords.scram import METHOD
from broker.access.passwords.scram_users import ScramExchange, ScramUsers
from broker.access.rights.text import read_text
from broker.access.source import Known
from broker.policy import AuthExchange, Credentials, Identity, Refusal

logger = logging.getLogger(__name__)

AT_ONCE = 2  # checks; each holds a processor and 16 MiB for a tenth of a second
WAITING = 1_000  # clients; the rest is told to come later
OTHERS_BITS = 0o077


class PasswordFile:
    """The users of one file; nobody, until load().

    A right password is remembered as a keyed hash, so that a device that reconnects often costs one
    slow check. A wrong one is not: it costs the same every time.
    """

    def __init__(self, path: Path, *, at_once: int = AT_ONCE, waiting: int = WAITING) -> None:
        self._path = path
        self._users: Mapping[str, PasswordHash] = {}
        self._scram = ScramUsers()
        self._known: dict[str, bytes] = {}
        self._key = secrets.token_bytes(32)
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="passwords")
        self._limit = at_once + waiting
        self._asked = 0
        self.checked = 0  # slow checks so far

    def read(self) -> dict[str, PasswordHash]:
        """Return the file's users; AccessError when any line of it is wrong."""
        users, problems = parse_passwords(read_text(self._path))
        if problems:
            raise AccessError(self._path, problems)
        if self._path.stat().st_mode & OTHERS_BITS:
            logger.warning("other users of this machine may read %s: give it mode 600", self._path)
        if not users:
            logger.warning("%s has no users: nobody can log in by it", self._path)
        return users

    def take(self, users: Mapping[str, PasswordHash]) -> frozenset[str]:
        """Let these users in from now on; return whose password is gone or another."""
        gone = frozenset(name for name, kept in self._users.items() if users.get(name) != kept)
        for name in gone:
            self._known.pop(name, None)
        self._users = users
        self._scram.take(users)
        return gone

    def has(self, name: str) -> bool:
        """Return whether a user is in the file as it was taken."""
        return name in self._users

    def identify(self, credentials: Credentials) -> Known | Awaitable[Known]:
        """Return the user when name and password are right; None for no user of the file."""
        name, password = credentials.username, credentials.password
        if not name:
            return None
        kept = self._users.get(name)
        unknown = None if kept is None else Refusal.BAD_CREDENTIALS
        if not password or len(password) > MAX_PASSWORD_BYTES or 0 in password:
            return unknown  # to HMAC, a zero at the end is as if it were not there
        if kept is not None and self._remembers(name, password):
            return Identity(name, credentials.client_id)
        return self._identify_slowly(name, password, kept, credentials.client_id)

    def begin(self, method: str, credentials: Credentials) -> AuthExchange | None:
        """Return a run of SCRAM-SHA-256, if any user has an entry for it."""
        if method != METHOD or not self._scram:
            return None
        return ScramExchange(self._scram, credentials)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _identify_slowly(
        self, name: str, password: bytes, kept: PasswordHash | None, client_id: str
    ) -> Known:
        if self._asked >= self._limit:
            return Refusal.SERVER_BUSY
        right = await self._check(kept or self._decoy(), password)
        if kept is None:
            return None
        if not right or self._users.get(name) is not kept:  # the file was read meanwhile
            return Refusal.BAD_CREDENTIALS
        self._known[name] = self._digest(name, password)
        return Identity(name, client_id)

    async def _check(self, kept: PasswordHash | None, password: bytes) -> bool:
        if kept is None:
            return False
        loop = asyncio.get_running_loop()
        self._asked += 1
        try:
            self.checked += 1
            return await loop.run_in_executor(self._pool, kept.is_of, password)
        finally:
            self._asked -= 1

    def _decoy(self) -> PasswordHash | None:
        # an unknown name takes as long as a known one, so that nobody learns names by the clock
        return next(iter(self._users.values()), None)

    def _remembers(self, name: str, password: bytes) -> bool:
        known = self._known.get(name)
        return known is not None and hmac.compare_digest(known, self._digest(name, password))

    def _digest(self, name: str, password: bytes) -> bytes:
        named = name.encode()
        sized = len(named).to_bytes(4, "big") + named + password
        return hashlib.blake2b(sized, key=self._key, digest_size=32).digest()
