"""Stores accepted sensors in gateway.db: their bind keys and the floors of their counters."""

from collections.abc import Mapping

from gateway.devices.record import DeviceRecord
from gateway.devices.store import save_device_statement
from gateway.sensors.sensor import SensorSettings
from gateway.storage.database import LocalDatabase, Statement


class SensorStore:
    """The table of sensors; each method returns when the change is on disk."""

    def __init__(self, database: LocalDatabase) -> None:
        self._database = database

    async def sensors(self) -> list[SensorSettings]:
        """Return the accepted sensors."""
        rows = await self._database.read(
            "SELECT device_id, address, key, trigger_based, floor FROM sensors ORDER BY device_id"
        )
        return [
            SensorSettings(device_id, address, key, bool(is_trigger_based), floor)
            for device_id, address, key, is_trigger_based, floor in rows
        ]

    async def save_new(self, device: DeviceRecord, sensor: SensorSettings) -> None:
        """Store a device and its sensor, both or neither."""
        await self._database.write(save_device_statement(device), _save(sensor))

    async def save(self, sensor: SensorSettings) -> None:
        """Store a sensor as it is now."""
        await self._database.write(_save(sensor))

    async def save_floors(self, floors: Mapping[str, int]) -> None:
        """Store the floors of counters by device id."""
        sql = "UPDATE sensors SET floor = ? WHERE device_id = ?"
        await self._database.write(*((sql, (floor, each)) for each, floor in floors.items()))


def _save(s: SensorSettings) -> Statement:
    sql = "INSERT OR REPLACE INTO sensors VALUES (?, ?, ?, ?, ?)"
    return sql, (s.device_id, s.address, s.key, s.is_trigger_based, s.floor)
