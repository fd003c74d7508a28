"""Authenticates users of a password file by SCRAM-SHA-256; answers all names alike."""

import hmac
import logging
import secrets
from collections.abc import Mapping

from broker.access.passwords.hashes import PasswordHash
from broker.access.passwords.scram import NONCE_BYTES, Scram, ScramKeys
from broker.policy import Accepted, Challenge, Credentials, Identity, Refusal, Step

logger = logging.getLogger(__name__)


class ScramUsers:
    """Those users of a file whose line is of the kind that SCRAM needs."""

    def __init__(self) -> None:
        self._users: dict[str, ScramKeys] = {}
        # of the start, not of the file: what it makes of a name must not change when users do
        self._secret = secrets.token_bytes(32)

    def __bool__(self) -> bool:
        return bool(self._users)

    def take(self, users: Mapping[str, PasswordHash]) -> None:
        """Let these users in from now on."""
        self._users = {name: kept for name, kept in users.items() if isinstance(kept, ScramKeys)}

    def find_keys(self, user: str) -> ScramKeys:
        """Return a user's keys, or such as look like somebody's and fit no password."""
        kept = self._users.get(user)
        digest = hmac.digest(self._secret, user.encode(), "sha256")  # for all, to cost the same
        patterns = list(self._users.values())
        # so many iterations, and so long a salt, as some user of the file has
        like = patterns[int.from_bytes(digest[:4], "big") % len(patterns)]
        salt = hmac.digest(self._secret, b"salt " + user.encode(), "sha512")[: len(like.salt)]
        keys = secrets.token_bytes(64)
        return kept or ScramKeys(like.iterations, salt, keys[:32], keys[32:])

    def is_current(self, user: str, keys: ScramKeys) -> bool:
        """Return whether a user's keys are still these."""
        return self._users.get(user) is keys


class ScramExchange:
    """One client that proves to be a user of the file."""

    def __init__(self, users: ScramUsers, credentials: Credentials) -> None:
        self._users = users
        self._credentials = credentials
        self._keys: ScramKeys | None = None
        self._scram = Scram(
            secrets.token_urlsafe(NONCE_BYTES), self._find_keys
        )  # of the characters that a nonce may have

    async def step(self, data: bytes | None) -> Step:
        """Take a message of the client."""
        scram = self._scram
        if not data and not scram.has_begun:  # a client may leave its first message for later
            return Challenge()
        answer = scram.receive(data or b"")
        if scram.failed or not self._is_same_user():
            return Refusal.NOT_AUTHORIZED
        if not scram.is_proven:
            return Challenge(answer)
        if self._keys is None or not self._users.is_current(scram.user, self._keys):
            return Refusal.NOT_AUTHORIZED  # the file was read again meanwhile
        return Accepted(Identity(scram.user, self._credentials.client_id), answer)

    def _find_keys(self, user: str) -> ScramKeys:
        self._keys = self._users.find_keys(user)
        return self._keys

    def _is_same_user(self) -> bool:
        # a user name in the CONNECT is not needed, but must not contradict
        return self._credentials.username in (None, "", self._scram.user)
