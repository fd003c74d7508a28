"""Stores accepted sensors in gateway.db: their bind keys and the floors of their counters."""

import logging
from collections.abc import Iterable, Mapping

from gateway.devices.record import DeviceRecord
from gateway.devices.store import save_device_statement
from gateway.errors import GatewayError
from gateway.sensors.sensor import Sensor, SensorSettings
from gateway.storage.database import LocalDatabase, Statement

logger = logging.getLogger(__name__)


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


class FloorKeeper:
    """Keeps the floors of counters on disk ahead of what is published (counter_guard.py)."""

    def __init__(self, store: SensorStore) -> None:
        self._store = store
        self._is_failing = False

    async def store(self, sensors: Iterable[Sensor]) -> frozenset[str]:
        """Store what has to be stored before the last frames count.

        Returns the ids of the devices of which this failed; their frames must not count.
        """
        floors: dict[Sensor, int] = {}
        for sensor in sensors:
            floor = sensor.guard.floor_to_store(is_exact=sensor.is_trigger_based)
            if floor is not None:
                floors[sensor] = floor
        return await self._save(floors)

    async def store_exactly(self, sensors: Iterable[Sensor]) -> None:
        """Store the counters as they are, so that the next start loses no frame."""
        floors: dict[Sensor, int] = {}
        for sensor in sensors:
            if (floor := sensor.guard.floor_to_store(is_exact=True)) is not None:
                floors[sensor] = floor
        await self._save(floors)

    async def _save(self, floors: dict[Sensor, int]) -> frozenset[str]:
        if not floors:
            return frozenset()
        by_device = {sensor.device_id: floor for sensor, floor in floors.items()}
        try:
            await self._store.save_floors(by_device)
        except GatewayError as exc:
            if not self._is_failing:
                logger.warning("%s; packets of sensors that encrypt are lost until then", exc)
            self._is_failing = True
            return frozenset(by_device)
        if self._is_failing:
            logger.info("counters of sensors are stored again")
        self._is_failing = False
        for sensor, floor in floors.items():
            sensor.guard.note_stored(floor)
        return frozenset()


def _save(s: SensorSettings) -> Statement:
    sql = "INSERT OR REPLACE INTO sensors VALUES (?, ?, ?, ?, ?)"
    return sql, (s.device_id, s.address, s.key, s.is_trigger_based, s.floor)
