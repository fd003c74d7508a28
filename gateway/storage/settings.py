"""Stores small values by name: the account, the cloud's signing keys."""

from gateway.storage.database import LocalDatabase


class SettingsStore:
    """The settings table of gateway.db."""

    def __init__(self, database: LocalDatabase) -> None:
        self._database = database

    async def load(self) -> dict[str, bytes]:
        """Return all values by name."""
        return dict(await self._database.read("SELECT name, value FROM settings"))

    async def save(self, values: dict[str, bytes]) -> None:
        """Store values by name, all or none; GatewayError when they are not stored."""
        sql = "INSERT OR REPLACE INTO settings VALUES (?, ?)"
        await self._database.write(*((sql, pair) for pair in values.items()))
