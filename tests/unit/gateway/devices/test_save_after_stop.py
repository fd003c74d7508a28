"""The last save of a gateway that stops: it comes after the end of the broker."""

import asyncio
from pathlib import Path

from broker import AllowAll, Broker
from broker.journal import Journal
from gateway.devices.admission import AdmissionRules, DeviceAdmission
from gateway.devices.record import DeviceRecord
from gateway.devices.rotation import RotationRule
from gateway.devices.store import DeviceStore
from gateway.devices.tables import load_tables
from gateway.devices.take_overs import LIMIT, WINDOW_S
from gateway.storage.gateway_file import gateway_database

DEVICE = DeviceRecord("dev-1", "lamp", "sim", "digest", 1.0)
PENDING_S = 8 * 24 * 3600.0  # no board waits so long


def test_nothing_is_published_when_the_broker_has_stopped(tmp_path: Path) -> None:
    async def main() -> None:
        now = 1000.0
        database = gateway_database(tmp_path)
        await database.open()
        store = DeviceStore(database)
        await store.save_join(DEVICE, None)
        tables = await load_tables(store)
        broker = Broker([], AllowAll(), AllowAll(), store=Journal(tmp_path / "journal", "synced"))
        rules = AdmissionRules(RotationRule(0))
        admission = DeviceAdmission(store, tables, broker, rules, lambda: now)
        admission.attach()
        await broker.start()
        device = tables.registry.get("dev-1")
        assert device is not None
        device.is_up = True
        assert [device.admit(now) for _ in range(LIMIT)] == [True] * (LIMIT - 1) + [False]
        assert tables.pending.ask("secret", "board-9", "10.0.0.9", now)
        assert tables.pending.describe("secret", "fan", "pico")
        admission.announce()
        await broker.stop()
        now += max(WINDOW_S, PENDING_S) + 1  # both the conflict and the wait are over
        assert await admission.save()
        assert tables.pending.get("secret") is None
        await database.close()

    asyncio.run(main())
