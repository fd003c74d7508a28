"""The account this node belongs to, kept over restarts."""

import logging

from gateway.storage.database import GatewayDatabase

logger = logging.getLogger(__name__)

_ID, _KEY = "account id", "account key"


class Account:
    """Account id ("" for none) and the key that the account's nodes share (b"" while unknown)."""

    def __init__(self, store: GatewayDatabase) -> None:
        self._store = store
        self.account_id = ""
        self.key = b""

    async def load(self) -> None:
        """Take what was kept."""
        settings = await self._store.settings()
        self.account_id = settings.get(_ID, b"").decode()
        self.key = settings.get(_KEY, b"")

    async def become(self, account_id: str) -> None:
        """Belong to an account from now on; another account's key is forgotten."""
        if account_id == self.account_id:
            return
        await self._store.save_settings({_ID: account_id.encode(), _KEY: b""})
        self.account_id, self.key = account_id, b""
        if account_id:
            logger.info("this node now belongs to account %s", account_id)
        else:
            logger.info("this node no longer belongs to an account")

    async def learn_key(self, key: bytes) -> None:
        """Keep the account's key."""
        await self._store.save_settings({_KEY: key})
        self.key = key
