"""The virtual radio itself: boards with the shim, a bleak backend, and every fault."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from bleak import BleakClient, BleakScanner
from bleak.backends.device import BLEDevice
from bleak.exc import BleakDBusError, BleakError

from hardware.radio.hecate_service import RX, SERVICE, TX
from tests.aio import until
from tests.radio.adapters import VirtualAdapter, VirtualAdapters
from tests.radio.bleak_backend import Backend, make_backend
from tests.radio.virtual_radio import VirtualRadio, run_board

ECHO = f"""
import asyncio
import bluetooth

SERVICE, RX, TX = [bluetooth.UUID(uuid) for uuid in ("{SERVICE}", "{RX}", "{TX}")]
ble = bluetooth.BLE()
ble.config(mtu=517)
ble.active(True)
((rx, tx),) = ble.gatts_register_services(
    ((SERVICE, ((RX, bluetooth.FLAG_WRITE_NO_RESPONSE), (TX, bluetooth.FLAG_NOTIFY))),)
)
ble.gatts_set_buffer(rx, 512)

def advertise():
    ble.gap_advertise(20000, b"\\x02\\x01\\x06\\x13\\x21" + bytes(SERVICE) + b"\\x00\\x01")

def handle(event, data):
    if event == 3:
        ble.gatts_notify(data[0], tx, ble.gatts_read(rx))
    elif event == 2:
        advertise()

ble.irq(handle)
advertise()
print("on the air")
asyncio.run(asyncio.Event().wait())
"""

Script = Callable[[VirtualRadio, VirtualAdapter, Backend, list[str]], Awaitable[None]]


def play(radio: VirtualRadio, folder: Path, script: Script, boards: int = 1) -> None:
    """Run a script with one adapter and so many boards that echo."""

    async def stage(addresses: list[str]) -> None:
        async with radio.adapters() as adapters:
            adapter = await adapters.add()
            await script(radio, adapter, make_backend(adapters), addresses)

    flashes = [folder / f"board{number}" for number in range(boards)]
    addresses = [radio.equip(flash) for flash in flashes]
    programs = [run_board(flash, ECHO) for flash in flashes]
    try:
        for program in programs:
            program.wait_for("on the air")
        asyncio.run(stage(addresses))
    finally:
        for program in programs:
            program.kill()


async def find(backend: Backend, address: str) -> BLEDevice:
    found = await BleakScanner.find_device_by_address(address, 30, backend=backend.scanner)
    assert found is not None
    return found


class Echo:
    """A link to a board that echoes."""

    def __init__(self, backend: Backend, device: BLEDevice | str) -> None:
        self.lost = asyncio.Event()
        self.client = BleakClient(
            device, lambda _: self.lost.set(), timeout=30, backend=backend.client
        )
        self.heard: list[bytes] = []

    async def __aenter__(self) -> "Echo":
        await self.client.connect()
        await self.client.start_notify(TX, lambda _, value: self.heard.append(bytes(value)))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.disconnect()

    async def say(self, value: bytes) -> None:
        await self.client.write_gatt_char(RX, value, response=False)

    async def expect(self, *values: bytes) -> None:
        await until(lambda: len(self.heard) >= len(values), f"{len(values)} notifications")
        assert self.heard == list(values)


def test_several_boards_are_heard_and_each_echoes(radio: VirtualRadio, tmp_path: Path) -> None:
    async def script(_: object, adapter: VirtualAdapter, backend: Backend, all_: list[str]) -> None:
        async with AsyncExitStack() as stack:
            echoes = [
                await stack.enter_async_context(Echo(backend, await find(backend, address)))
                for address in all_
            ]
            for number, echo in enumerate(echoes):
                await echo.say(bytes([number]) * 500)
            for number, echo in enumerate(echoes):
                await echo.expect(bytes([number]) * 500)
                assert echo.client.mtu_size == 517
            assert set(adapter.links) == set(all_)
        assert not adapter.links

    play(radio, tmp_path, script, boards=4)


def test_a_board_that_dies_is_lost_and_a_radio_without_it_hears_nothing(
    radio: VirtualRadio, tmp_path: Path
) -> None:
    async def stage(address: str) -> None:
        async with radio.adapters() as adapters:
            await adapters.add()
            backend = make_backend(adapters)
            async with Echo(backend, await find(backend, address)) as echo:
                program.kill()
                await asyncio.wait_for(echo.lost.wait(), 30)
            assert await BleakScanner.discover(timeout=0.2, backend=backend.scanner) == []

    address = radio.equip(tmp_path / "board")
    program = run_board(tmp_path / "board", ECHO)
    program.wait_for("on the air")
    asyncio.run(stage(address))


def test_a_beacon_is_heard(radio: VirtualRadio, tmp_path: Path) -> None:
    async def script(radio: VirtualRadio, _: VirtualAdapter, backend: Backend, __: object) -> None:
        data = b"\x02\x01\x06" + b"\x08\x16\xd2\xfc\x40\x02\xca\x09\x01" + b"\x04\xff\x34\x12\x07"
        with radio.beacon("F0:BE:AC:00:00:01", data):
            async with BleakScanner(backend=backend.scanner) as scanner:
                async for device, heard in scanner.advertisement_data():
                    assert device.address == "F0:BE:AC:00:00:01"
                    uuid = "0000fcd2-0000-1000-8000-00805f9b34fb"
                    assert heard.service_data == {uuid: b"\x40\x02\xca\x09\x01"}
                    assert heard.manufacturer_data == {0x1234: b"\x07"}
                    break

    play(radio, tmp_path, script, boards=0)


def test_faults_of_scanners(radio: VirtualRadio, tmp_path: Path) -> None:
    async def script(_: object, adapter: VirtualAdapter, backend: Backend, all_: list[str]) -> None:
        adapter.faults.is_silent = True
        assert await BleakScanner.discover(timeout=0.2, backend=backend.scanner) == []
        adapter.faults.is_silent = False
        adapter.faults.stops_in_progress = 1
        scanner = BleakScanner(backend=backend.scanner)
        await scanner.start()
        with pytest.raises(BleakDBusError, match="InProgress"):
            await scanner.stop()
        with pytest.raises(BleakDBusError, match="InProgress"):  # the scan goes on
            await BleakScanner(backend=backend.scanner).start()
        await scanner.stop()
        await find(backend, all_[0])

    play(radio, tmp_path, script)


def test_faults_of_links(radio: VirtualRadio, tmp_path: Path) -> None:
    async def script(
        radio: VirtualRadio, adapter: VirtualAdapter, backend: Backend, all_: list[str]
    ) -> None:
        faults = adapter.faults
        faults.refused_connects = 1
        with pytest.raises(BleakError, match="abort"):
            await Echo(backend, all_[0]).client.connect()
        faults.link_limit, faults.leaks_links = 1, True
        async with Echo(backend, all_[0]):
            pass
        assert radio.links_of(all_[0]) == 1  # the device believes in the link
        with pytest.raises(BleakError, match="no free connection"):
            await Echo(backend, all_[1]).client.connect()
        faults.leaks_links = False
        await adapter.links[all_[0]].disconnect()
        faults.hides_disconnects = True
        async with Echo(backend, all_[1]) as echo:
            await adapter.links[all_[1]].disconnect()
            assert echo.client.is_connected
            assert not echo.lost.is_set()

    play(radio, tmp_path, script, boards=2)


def test_faults_of_chunks(radio: VirtualRadio, tmp_path: Path) -> None:
    async def script(_: object, adapter: VirtualAdapter, backend: Backend, all_: list[str]) -> None:
        faults = adapter.faults
        faults.early_s = 0.05
        async with Echo(backend, all_[0]) as echo:
            faults.notifications.lost = 1
            await echo.say(b"lost")
            await until(lambda: faults.notifications.dropped == 1, "the loss")
            faults.notifications.lost, faults.notifications.repeated = 0, 1
            await echo.say(b"twice")
            await echo.expect(b"twice", b"twice")
            faults.notifications.repeated, faults.notifications.swapped = 0, 1
            await echo.say(b"second")
            await echo.say(b"first")
            await echo.expect(b"twice", b"twice", b"first", b"second")
            faults.notifications.swapped, faults.claimed_mtu = 0, 1000
            assert echo.client.mtu_size == 1000
            await echo.say(bytes(600))  # vanishes
            faults.writes.longest = 100
            await echo.say(bytes(101))
            await echo.say(b"last")
            await until(lambda: echo.heard[4:], "the last")
            assert echo.heard[4:] == [b"last"]

    play(radio, tmp_path, script)


def test_an_adapter_returns_under_another_name(radio: VirtualRadio, tmp_path: Path) -> None:
    async def script(_: object, adapter: VirtualAdapter, backend: Backend, all_: list[str]) -> None:
        async with Echo(backend, all_[0]) as echo:
            await adapter.unplug()
            await asyncio.wait_for(echo.lost.wait(), 30)
        with pytest.raises(BleakError, match="No Bluetooth adapters"):
            await BleakScanner(backend=backend.scanner).start()
        await adapter.plug("hci1")
        with pytest.raises(BleakError, match="'hci0' not found"):
            await BleakScanner(backend=backend.scanner, bluez={"adapter": "hci0"}).start()
        async with Echo(backend, await find(backend, all_[0])) as echo:
            await echo.say(b"again")
            await echo.expect(b"again")

    play(radio, tmp_path, script)


def test_a_stack_goes_deaf(radio: VirtualRadio, tmp_path: Path) -> None:
    async def script(
        radio: VirtualRadio, _: VirtualAdapter, backend: Backend, all_: list[str]
    ) -> None:
        await find(backend, all_[0])
        await asyncio.to_thread(radio.deafen, all_[0])
        assert await BleakScanner.discover(timeout=0.2, backend=backend.scanner) == []

    play(radio, tmp_path, script)


def test_is_an_adapter_system(radio: VirtualRadio, tmp_path: Path) -> None:
    async def script(_: object, adapter: VirtualAdapter, backend: Backend, all_: list[str]) -> None:
        system: VirtualAdapters = backend.client.adapters  # type: ignore[attr-defined]
        [described] = await system.adapters()
        assert (described.name, described.address) == ("hci0", "F0:00:00:00:00:01")
        async with Echo(backend, all_[0]) as echo:
            assert await system.connected(described) == all_
            await system.disconnect(described, all_[0])
            await asyncio.wait_for(echo.lost.wait(), 30)
        adapter.faults.keeps_services = True
        async with Echo(backend, all_[0]) as echo:
            kept = echo.client.services
        async with Echo(backend, all_[0]) as echo:
            assert echo.client.services is kept
        await system.forget(described, all_[0])
        async with Echo(backend, all_[0]) as echo:
            assert echo.client.services is not kept
        await system.restart(described)
        async with Echo(backend, await find(backend, all_[0])):
            pass

    play(radio, tmp_path, script)
