import asyncio
from pathlib import Path

from gateway.devices.claims import Claim
from gateway.devices.registry import DeviceRecord
from gateway.devices.store import DeviceStore
from gateway.storage.gateway_file import gateway_database

FIRST = DeviceRecord("dev-1", "lamp", "sim", "digest", 1.0, "claim", "board")
SECOND = DeviceRecord("dev-2", "heater", "sim", "digest", 2.0)


def test_devices_and_claims_survive_a_restart(tmp_path: Path) -> None:
    async def change() -> None:
        database = gateway_database(tmp_path)
        await database.open()
        store = DeviceStore(database)
        await store.save_claim(Claim("old", 3, 10.0))
        await store.save_claim(Claim("claim", 3, 10.0))
        await store.save_join(SECOND, None)
        await store.save_join(FIRST, Claim("claim", 2, 10.0))
        await store.confirm_device("dev-1")
        await store.save_seen([("dev-1", 7.5), ("dev-none", 8.0)])
        await store.delete_device("dev-2")
        await store.delete_claims(["old"])
        await store.save_seen([])
        await database.close()

    async def load() -> tuple[list[DeviceRecord], list[Claim]]:
        database = gateway_database(tmp_path)
        await database.open()
        store = DeviceStore(database)
        loaded = await store.devices(), await store.claims()
        await database.close()
        return loaded

    asyncio.run(change())
    devices, claims = asyncio.run(load())
    assert claims == [Claim("claim", 2, 10.0)]
    (device,) = devices
    assert device.confirmed is True
    assert (device.device_id, device.client_id, device.last_seen) == ("dev-1", "board", 7.5)
