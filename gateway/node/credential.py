"""Keeps the credential by which this node joins clusters of its account, and renews it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from joserfc.jwk import KeySet

from gateway.errors import GatewayError
from gateway.node.account import Account
from gateway.storage.settings import SettingsStore
from protocol.cluster_credentials import RENEW_S, VALID_S, ClusterCredential, read_credential
from protocol.errors import TokenError

logger = logging.getLogger(__name__)

LOOK_S = 2.0  # at the account, which may have changed
RETRY_S = 60.0
WARN_S = 7 * 86_400.0  # before its end, the status tells

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
        self.text = ""

    async def load(self) -> None:
        """Read the stored credential."""
        self.text = (await self._settings.load()).get(_CREDENTIAL, b"").decode()

    def read(self) -> ClusterCredential | None:
        """Return what the credential says; None when it cannot be used."""
        keys = self._keys()
        if not self.text or keys is None:
            return None
        try:
            found = read_credential(self.text, keys, self._clock())
        except TokenError:
            return None
        ours = found.node_id == self._node_id and found.account_id == self._account.account_id
        return found if ours else None

    def warning(self) -> str:
        """Return what a person should know of it; "" when all is well."""
        if not self._account.account_id:
            return "this node is in no account: `hecate account join`"
        found = self.read()
        if found is None:
            return "no valid credential of the account: it comes with the next contact to the cloud"
        left_s = found.expires_at - self._clock()
        if left_s > WARN_S:
            return ""
        days = max(0, int(left_s // 86_400))
        return f"the credential of the account ends in {days} days: it is renewed by the cloud"

    async def run(self, fetch: Callable[[], Awaitable[str]]) -> None:
        """Renew it once a day, and at once when it is missing, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            if self._account.account_id and self._is_due():
                try:
                    await self._renew(await fetch())
                except GatewayError as exc:
                    logger.debug("no credential: %s", exc)
                    await asyncio.sleep(RETRY_S)

    def _is_due(self) -> bool:
        found = self.read()
        return found is None or found.expires_at - self._clock() < VALID_S - RENEW_S

    async def _renew(self, text: str) -> None:
        await self._settings.save({_CREDENTIAL: text.encode()})
        self.text = text
        logger.debug("the credential of the account was renewed")
