"""Runs the radio with bleak's backend for Linux, against a stand-in for bluetoothd on a D-Bus."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from bleak.backends.bluezdbus import manager as bleak_manager
from dbus_fast import Variant

from hardware.radio.adapters import Adapter
from hardware.radio.advertisement import Advertisement
from hardware.radio.backend import RadioBackend
from hardware.radio.bluez import BluezSystem
from hardware.radio.errors import AdapterMissingError
from hardware.radio.hecate_service import GREETING, SERVICE
from hardware.radio.radio import Radio
from tests.aio import until
from tests.fake_air import running
from tests.fake_bluez import ADAPTER, DEVICE, FakeBluez, bus_daemon, fake_bluez
from tests.programs import PATIENCE

ADDRESS, DEVICE_ADDRESS = "F0:00:00:00:00:01", "C0:00:00:00:00:01"
HCI0 = Adapter(ADDRESS, "hci0")


@pytest.fixture
def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with bus_daemon(tmp_path) as address:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        yield address


def run(work: Coroutine[Any, Any, None]) -> None:
    async def main() -> None:
        try:
            async with asyncio.timeout(20 * PATIENCE):
                await work
        finally:
            made = bleak_manager._global_instances.pop(asyncio.get_running_loop(), None)
            if made is not None and made._bus is not None:
                made._bus.disconnect()
                await asyncio.sleep(0.1)

    asyncio.run(main())


@contextlib.asynccontextmanager
async def radio_with(bluez: FakeBluez) -> AsyncIterator[tuple[Radio, list[Advertisement]]]:
    bluez.plug("hci0", ADDRESS)
    radio, heard = Radio(RadioBackend(BluezSystem()), look_s=0.1), list[Advertisement]()
    radio.source.add_listener(heard.append)
    async with running(radio.run()):
        await until(lambda: "StartDiscovery" in bluez.calls)
        await until(lambda: radio.scanner.is_scanning)
        yield radio, heard


def on_bluez(bus: str, test: Callable[[FakeBluez], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with fake_bluez(bus) as bluez:
            await test(bluez)

    run(main())


def test_adapters_are_listed_with_their_addresses(bus: str) -> None:
    async def test(bluez: FakeBluez) -> None:
        bluez.plug("hci1", ADDRESS.lower())
        bluez.plug("hci0", "F0:00:00:00:00:02", is_powered=False)
        found = await BluezSystem().adapters()
        assert Adapter(ADDRESS, "hci1") in found
        assert Adapter("F0:00:00:00:00:02", "hci0", is_powered=False) in found

    on_bluez(bus, test)


def test_a_daemon_that_does_not_run_is_named(bus: str) -> None:
    async def main() -> None:
        with pytest.raises(AdapterMissingError, match="BlueZ does not run"):
            await BluezSystem().adapters()

    assert bus
    run(main())


def test_a_missing_bus_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/bus")

    async def main() -> None:
        with pytest.raises(AdapterMissingError, match="no D-Bus"):
            await BluezSystem().adapters()

    run(main())


def test_a_user_without_rights_is_told_the_group(bus: str) -> None:
    async def test(bluez: FakeBluez) -> None:
        bluez.refusal = "org.freedesktop.DBus.Error.AccessDenied"
        with pytest.raises(AdapterMissingError, match="group bluetooth"):
            await BluezSystem().adapters()

    on_bluez(bus, test)


def test_an_advertisement_is_heard_with_its_data(bus: str) -> None:
    async def test(bluez: FakeBluez) -> None:
        async with radio_with(bluez) as (_, heard):
            bluez.hear("hci0", DEVICE_ADDRESS, b"\x01\x01")
            await until(lambda: heard)
            assert heard[0].address == DEVICE_ADDRESS
            assert heard[0].service_data == {SERVICE: b"\x01\x01"}
            assert (heard[0].rssi_dbm, heard[0].address_type) == (-61, "random")
            before = len(heard)
            bluez.hear("hci0", DEVICE_ADDRESS, b"\x00\x01")
            await until(lambda: len(heard) > before)
            assert heard[-1].service_data == {SERVICE: b"\x00\x01"}

    on_bluez(bus, test)


def test_a_link_is_opened_and_carries_chunks_both_ways(bus: str) -> None:
    async def test(bluez: FakeBluez) -> None:
        async with radio_with(bluez) as (radio, heard):
            path = bluez.hear("hci0", DEVICE_ADDRESS, b"\x00\x01")
            await until(lambda: heard)
            link = await radio.open(DEVICE_ADDRESS)
            assert link.chunk_bytes == 182
            assert await BluezSystem().connected(HCI0) == [DEVICE_ADDRESS]
            await link.send(b"a chunk for the device")
            assert bluez.written == [GREETING, b"a chunk for the device"]
            assert await link.receive() == GREETING
            assert await link.receive() == b"a chunk for the device"
            bluez.change(path, DEVICE, {"Connected": Variant("b", False)})
            await until(lambda: link.is_lost)

    on_bluez(bus, test)


def test_a_link_that_leaked_is_closed(bus: str) -> None:  # case L3
    async def test(bluez: FakeBluez) -> None:
        async with radio_with(bluez) as (radio, heard):
            path = bluez.hear("hci0", DEVICE_ADDRESS, b"\x00\x01")
            await until(lambda: heard)
            bluez._do_Connect(path, [])
            assert await radio.compare_links() == 1
            assert await BluezSystem().connected(HCI0) == []

    on_bluez(bus, test)


def test_bonds_are_listed_and_forgotten(bus: str) -> None:
    async def test(bluez: FakeBluez) -> None:
        bluez.plug("hci0", ADDRESS)
        path = bluez.hear("hci0", DEVICE_ADDRESS, b"\x00\x01")
        system = BluezSystem()
        assert await system.bonded(HCI0) == []
        bluez.change(path, DEVICE, {"Bonded": Variant("b", True)})
        assert await system.bonded(HCI0) == [DEVICE_ADDRESS]
        await system.forget(HCI0, DEVICE_ADDRESS)
        assert path not in bluez.objects
        assert await system.bonded(HCI0) == []

    on_bluez(bus, test)


def test_an_adapter_is_switched_off_and_on(bus: str) -> None:
    async def test(bluez: FakeBluez) -> None:
        bluez.plug("hci0", ADDRESS)
        await BluezSystem().restart(HCI0)
        assert bluez.calls.count("Set") == 2
        assert bluez.objects["/org/bluez/hci0"][ADAPTER]["Powered"].value is True

    on_bluez(bus, test)


def test_an_adapter_that_comes_back_under_another_name_scans_again(bus: str) -> None:  # case L2
    async def test(bluez: FakeBluez) -> None:
        async with radio_with(bluez) as (radio, heard):
            bluez.unplug("hci0")
            await until(lambda: radio.adapter is None)
            bluez.calls.clear()
            bluez.plug("hci1", ADDRESS)
            await until(lambda: "StartDiscovery" in bluez.calls)
            bluez.hear("hci1", DEVICE_ADDRESS, b"\x00\x01")
            await until(lambda: heard)
            link = await radio.open(DEVICE_ADDRESS)
            assert link.is_connected

    on_bluez(bus, test)


def test_a_daemon_that_is_restarted_is_used_again(bus: str) -> None:
    async def main() -> None:
        radio = Radio(RadioBackend(BluezSystem()), look_s=0.1)
        heard = list[Advertisement]()
        radio.source.add_listener(heard.append)
        async with running(radio.run()):
            for _ in range(2):
                async with fake_bluez(bus) as bluez:
                    bluez.plug("hci0", ADDRESS)
                    await until(lambda: "StartDiscovery" in bluez.calls)
                    await until(lambda: radio.scanner.is_scanning)
                    bluez.hear("hci0", DEVICE_ADDRESS, b"\x00\x01")
                    await until(lambda: heard)
                await until(lambda: radio.adapter is None)
                assert "BlueZ does not run" in radio.problem
                heard.clear()

    run(main())
