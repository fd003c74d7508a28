"""Keeps the credential by which this node joins clusters of its account, and renews it.

The credential lasts 30 days. While the cloud is there it is renewed once a day, so a node that lost
the cloud has 29 days or more. From a week before the end on, warning() tells. After the end, other
nodes refuse new links and calls of this node, and end its links within a minute; its own devices
and microservices go on. The next contact to the cloud brings a new credential and mends all that.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from joserfc.jwk import KeySet

from gateway.errors import GatewayError
from gateway.node.account import Account
from gateway.storage.settings import SettingsStore
from protocol.cluster_credentials import (
    ANY_TIME,
    RENEW_S,
    VALID_S,
    ClusterCredential,
    read_credential,
)
from protocol.errors import TokenError

logger = logging.getLogger(__name__)

LOOK_S = 2.0  # at the account, which may have changed
RETRY_S = 60.0
DAY_S = 86_400.0
WARN_S = 7 * DAY_S  # before its end
NO_CREDENTIAL = (
    "this node has no credential of its account yet: other nodes admit it after its next contact "
    "to the cloud"
)

_CREDENTIAL = "cluster credential"


class CredentialKeeper:
    """The credential of this node; "" while it has none."""

    def __init__(
        self,
        node_id: str,
        account: Account,
        settings: SettingsStore,
        keys: Callable[[], KeySet | None],
        clock: Callable[[], float],
    ) -> None:
        self._node_id, self._account, self._settings = node_id, account, settings
        self._keys, self._clock = keys, clock
        self._read_from: tuple[str, KeySet] | None = None
        self._found: ClusterCredential | None = None
        self.text = ""

    async def load(self) -> None:
        """Read the stored credential."""
        stored = (await self._settings.load()).get(_CREDENTIAL, b"")
        self.text = stored.decode("ascii", "replace")  # one that is damaged admits nobody

    def now(self) -> float:
        """Return the unix time, at least that of this node's credential.

        A clock that says 1970 would accept credentials that ended long ago.
        """
        found = self.read()
        return max(self._clock(), found.issued_at if found is not None else 0.0)

    def read(self) -> ClusterCredential | None:
        """Return what the credential says, ended or not; None when it cannot be used."""
        keys = self._keys()
        if not self.text or keys is None:
            return None
        if self._read_from != (self.text, keys):
            self._read_from, self._found = (self.text, keys), self._open(self.text, keys)
        found = self._found
        return found if found and found.account_id == self._account.account_id else None

    def warning(self) -> str:
        """Return what a person should know of it; "" when all is well."""
        if not self._account.account_id:
            return ""
        found = self.read()
        if found is None:
            return NO_CREDENTIAL
        left_s = found.expires_at - self.now()
        if left_s > WARN_S:
            return ""
        if left_s <= 0:
            return (
                f"the credential of the account has ended on {found.end_date}: other nodes do not "
                "admit this one until it reaches the cloud; its devices and microservices go on"
            )
        days = int(left_s // DAY_S)
        when = f"in {days} day{'s' * (days != 1)}" if days else "today"
        return (
            f"the credential of the account ends {when}, on {found.end_date}: connect this node "
            "to its cloud, which renews it; after that other nodes do not admit this one"
        )

    async def run(self, fetch: Callable[[], Awaitable[str]]) -> None:
        """Renew it once a day, and at once when it is missing, until cancelled."""
        while True:
            pause_s = LOOK_S if await self.renew(fetch) else RETRY_S
            await asyncio.sleep(pause_s)

    async def renew(self, fetch: Callable[[], Awaitable[str]]) -> bool:
        """Renew it if that is due; return False when the cloud gives none."""
        if not self._account.account_id or not self._is_due():
            return True
        try:
            text = await fetch()
            if self.read() is not None and not self._is_usable(text):
                logger.debug("the new credential is not used: it cannot be checked here")
                return False
            await self._settings.save({_CREDENTIAL: text.encode()})
        except GatewayError as exc:
            logger.debug("no credential: %s", exc)
            return False
        self.text = text
        logger.debug("the credential of the account was renewed")
        return self.read() is not None

    def _is_due(self) -> bool:
        found = self.read()
        return found is None or found.expires_at - self.now() < VALID_S - RENEW_S

    def _is_usable(self, text: str) -> bool:
        """Return whether a credential can take the place of one that is valid still."""
        keys = self._keys()
        found = self._open(text, keys) if keys is not None else None
        return found is not None and found.account_id == self._account.account_id

    def _open(self, text: str, keys: KeySet) -> ClusterCredential | None:
        try:
            found = read_credential(text, keys, ANY_TIME)
        except TokenError:
            return None
        return found if found.node_id == self._node_id else None
