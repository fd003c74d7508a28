"""Holds the account of this node and stores it over restarts."""

import logging

from gateway.storage.settings import SettingsStore
from protocol.ids import ACCOUNT_ID

logger = logging.getLogger(__name__)

_ID, _KEY = "account id", "account key"


class Account:
    """Account id ("" for none) and the key that the account's nodes share (b"" while unknown)."""

    def __init__(self, settings: SettingsStore) -> None:
        self._settings = settings
        self.account_id = ""
        self.key = b""

    async def load(self) -> None:
        """Read the stored account."""
        stored = await self._settings.load()
        account_id = stored.get(_ID, b"").decode("ascii", "replace")
        if account_id and not ACCOUNT_ID.fullmatch(account_id):
            logger.warning("cannot read the stored account; asking the cloud for it")
            return
        self.account_id = account_id
        self.key = stored.get(_KEY, b"")

    async def become(self, account_id: str) -> None:
        """Change the account and delete the key of the old one; "" is none."""
        if account_id == self.account_id:
            return
        await self._settings.save({_ID: account_id.encode(), _KEY: b""})
        self.account_id, self.key = account_id, b""
        if account_id:
            logger.info("this node now belongs to account %s", account_id)
        else:
            logger.info("this node no longer belongs to an account")

    async def save_key(self, key: bytes) -> None:
        """Store the key of the account."""
        await self._settings.save({_KEY: key})
        self.key = key
