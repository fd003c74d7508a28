import asyncio
from pathlib import Path

from gateway.devices.joining.claims import Claim
from gateway.devices.joining.pending import PendingBoard, PendingState
from gateway.devices.record import DeviceCertificate, DeviceRecord
from gateway.devices.store import DeviceStore
from gateway.storage.gateway_file import gateway_database

CERTIFICATE = DeviceCertificate("d", b"\x00key", 99.0)
FIRST = DeviceRecord("dev-1", "lamp", "sim", "digest", 1.0, "claim", "board")
SECOND = DeviceRecord("dev-2", "heater", "sim", "digest", 2.0)
BOARD = PendingBoard("secret", "board-9", "123456", "10.0.0.9", 3.0, 4.0, "fan", "pico")


def test_everything_about_devices_survives_a_restart(tmp_path: Path) -> None:
    async def change() -> None:
        database = gateway_database(tmp_path)
        await database.open()
        store = DeviceStore(database)
        await store.save_claim(Claim("old", 3, 10.0))
        await store.save_claim(Claim("claim", 3, 10.0, "board"))
        await store.save_join(SECOND, None)
        await store.save_join(FIRST, Claim("claim", 2, 10.0, "board"))
        FIRST.note_token(b"")
        FIRST.join_groups(("a", "b"))
        FIRST.offer_token("next", 5.0, CERTIFICATE)
        await store.save_device(FIRST)
        await store.save_seen([("dev-1", 7.5, {"rssi": -60}, 2), ("dev-none", 8.0, {}, 0)])
        await store.delete_device("dev-2")
        await store.delete_claims(["old"])
        await store.save_seen([])
        approved = PendingBoard(
            "approved", "b", "2", "::1", 5.0, 5.0, "n", "", PendingState.APPROVED, "dev-3", 6.0
        )
        await store.save_pending([BOARD, approved], [])
        await store.save_pending([], ["none"])
        await store.save_join(FIRST, ended="approved")  # its approval ends with the join
        await store.save_seen([("dev-1", 7.5, {"rssi": -60}, 2)])
        await database.close()

    async def load() -> tuple[list[DeviceRecord], list[Claim], list[PendingBoard]]:
        database = gateway_database(tmp_path)
        await database.open()
        store = DeviceStore(database)
        loaded = await store.devices(), await store.claims(), await store.pending()
        await database.close()
        return loaded

    asyncio.run(change())
    devices, claims, boards = asyncio.run(load())
    assert claims == [Claim("claim", 2, 10.0, "board")]
    (device,) = devices
    assert device.confirmed is True
    assert (device.device_id, device.client_id, device.last_seen) == ("dev-1", "board", 7.5)
    assert (device.groups, device.attributes, device.conflicts) == (("a", "b"), {"rssi": -60}, 2)
    assert (device.next_digest, device.next_made_at) == ("next", 5.0)
    assert (device.certificate, device.next_certificate) == (None, CERTIFICATE)
    (board,) = boards
    assert (board.digest, board.shown_code, board.is_stored) == ("secret", "123-456", True)
