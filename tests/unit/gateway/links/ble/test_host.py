"""Tests what the host does with the radio, in virtual time: devices prove their keys at once."""

import asyncio
import itertools
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from broker import LocalClient
from gateway.cli.devices.radio import link_row, radio_lines, waiting_row
from gateway.devices.record import DeviceRecord
from gateway.devices.registry import DeviceRegistry
from gateway.links.ble.bluetooth import Bluetooth
from gateway.links.ble.device_notes import DeviceNotes
from gateway.links.ble.host import BluetoothHost, HostParts
from gateway.links.ble.presence import AWAY_S
from gateway.links.ble.scheduler import LinkScheduler
from gateway.links.ports import ChunkPort, LinkClosedError
from gateway.sidecar.devices.radio_metrics import radio_metrics
from hardware.radio.adapters import Adapter
from hardware.radio.radio import Radio
from tests.fake_air import ADDRESS, Air, AirDevice, running
from tests.virtual_time import run_virtual, virtual_now

PROVE_S = 0.3


@dataclass
class FakeLinks:
    """Joins ports to nothing: a device is proved when its link stands, unless it is a stranger."""

    strangers: set[str] = field(default_factory=set)
    proved_at: dict[str, list[float]] = field(default_factory=dict)
    parked: list[str] = field(default_factory=list)
    ports: dict[str, ChunkPort] = field(default_factory=dict)

    async def serve(self, port: ChunkPort, on_proved: Callable[[str], None]) -> str:
        address = port.name.removeprefix("ble:")
        self.ports[port.name] = port
        await asyncio.sleep(PROVE_S)
        if address not in self.strangers:
            self.proved_at.setdefault(address, []).append(virtual_now())
            on_proved(device_of(address))
        try:
            while True:
                await port.read()
        except LinkClosedError as exc:
            return str(exc)

    async def park(self, name: str) -> bool:
        self.parked.append(name)
        await self.ports[name].close()
        return True


@dataclass
class FakeLocal:
    """Notes what the gateway publishes."""

    published: list[tuple[str, bytes]] = field(default_factory=list)

    def publish(self, topic: str, payload: bytes, **_: Any) -> None:
        self.published.append((topic, payload))


class World:
    """A host, and devices around it."""

    def __init__(self, devices: int, links: int = 3) -> None:
        self.air, self.links, self.local = Air(), FakeLinks(), FakeLocal()
        self.air.limit = links
        self.addresses = [f"C0:00:00:00:00:{n:02X}" for n in range(devices)]
        records = [
            DeviceRecord(device_of(a), "lamp", "sim", "", 0.0, is_up=True) for a in self.addresses
        ]
        self.registry = DeviceRegistry(records)
        for address in self.addresses:
            self.air.add(AirDevice(address))
        self.radio = Radio(self.air.backend(), "", virtual_now)
        self.waiting: set[str] = set()  # devices with messages at the broker
        local: Any = self.local
        assert hasattr(LocalClient, "publish")
        self.notes = DeviceNotes(self.registry, local)
        scheduler = LinkScheduler(links, itertools.cycle((0.1, 0.9)).__next__)
        self.host = BluetoothHost(
            HostParts(
                self.radio,
                self.links,
                lambda device_id: device_id in self.waiting,
                scheduler,
                self.notes,
                virtual_now,
            )
        )
        self.bluetooth = Bluetooth(self.radio, scheduler, self.host, virtual_now)

    def all_back_since(self, at: float) -> bool:
        """Return whether every device has proved its key after a time."""
        return all(self.links.proved_at.get(a, [0.0])[-1] > at for a in self.addresses)


def device_of(address: str) -> str:
    return f"dev-{address.replace(':', '').lower()}"


def in_world(
    test: Callable[[World], Coroutine[Any, Any, None]], devices: int, links: int = 3
) -> None:
    async def main() -> None:
        world = World(devices, links)
        async with running(world.host.run()) as task:
            await asyncio.sleep(5)
            await test(world)
            assert not task.done()

    run_virtual(main())


def test_ten_devices_share_three_links() -> None:
    async def test(world: World) -> None:
        await asyncio.sleep(60)
        assert world.all_back_since(0.0)
        await asyncio.sleep(600)
        turns = [len(times) for times in world.links.proved_at.values()]
        assert min(turns) > 5
        assert max(turns) <= 1.5 * min(turns)
        assert all(d.is_up for d in world.registry.all())
        assert not world.local.published, "a device that waits was said to be offline"

    in_world(test, 10)


def test_all_are_back_within_a_minute_of_an_adapter_that_has_another_name_now() -> None:  # case L2
    async def test(world: World) -> None:
        await asyncio.sleep(120)
        world.air.unplug()
        await asyncio.sleep(20)
        world.air.plugged = [Adapter(ADDRESS, "hci1")]
        at = virtual_now()
        await asyncio.sleep(60)
        assert world.all_back_since(at)

    in_world(test, 10)


def test_all_are_back_within_a_minute_of_a_restart_of_the_daemon() -> None:
    async def test(world: World) -> None:
        await asyncio.sleep(60)
        world.air.is_down = True
        world.air.lose_all()
        await asyncio.sleep(8)
        world.air.is_down = False
        at = virtual_now()
        await asyncio.sleep(60)
        assert world.all_back_since(at)

    in_world(test, 10)


def test_a_link_that_dies_without_a_word_gives_its_slot_away_within_a_minute() -> None:  # case L3
    async def test(world: World) -> None:
        world.air.hides_disconnects = True
        dead = next(iter(world.air.real_links))
        world.air.devices[dead].is_silent = True
        world.air.cut(dead)
        await asyncio.sleep(75)
        assert len(world.radio.links) == 3
        assert dead not in world.radio.links
        assert len(world.air.real_links) == 3

    in_world(test, 4)


def test_with_a_dead_link_the_other_three_of_four_all_have_turns() -> None:  # case L3
    async def test(world: World) -> None:
        world.air.hides_disconnects = True
        dead = next(iter(world.air.real_links))
        world.air.devices[dead].is_silent = True
        world.air.cut(dead)
        at = virtual_now()
        await asyncio.sleep(120)
        others = [a for a in world.addresses if a != dead]
        assert all(world.links.proved_at[a][-1] > at or a in world.radio.links for a in others), (
            "the loser always loses"
        )

    in_world(test, 4)


def test_leaked_links_do_not_use_the_adapter_up() -> None:  # case L3
    async def test(world: World) -> None:
        world.air.leaks_links = True
        await asyncio.sleep(300)
        at = virtual_now()
        await asyncio.sleep(120)
        assert world.radio.counters.leaked_closed > 3
        assert sum(times[-1] > at for times in world.links.proved_at.values()) >= 4

    in_world(test, 5)


def test_a_device_with_commands_at_the_broker_comes_first() -> None:
    async def test(world: World) -> None:
        await asyncio.sleep(120)
        waiting = next(a for a in world.addresses if a not in world.radio.links)
        world.waiting.add(device_of(waiting))
        at = virtual_now()
        await asyncio.sleep(15)
        assert world.links.proved_at[waiting][-1] > at

    in_world(test, 10)


def test_a_lost_bond_is_reported_and_a_stranger_at_the_address_changes_nothing() -> None:  # L5
    async def test(world: World) -> None:
        [address] = world.addresses
        device = world.air.devices[address]
        world.air.bonds.add(address)
        device.refuses_bond = True  # it was wiped
        world.air.cut(address)
        await asyncio.sleep(600)
        assert [(b.address, b.was) for b in world.host.bonds.lost] == [
            (address, device_of(address))
        ]
        world.links.strangers.add(address)  # somebody else with its address, who makes no bond
        device.refuses_bond = False
        await asyncio.sleep(600)
        assert world.air.bonds == {address}
        assert world.host.bonds.lost
        world.links.strangers.clear()  # the device, with its join key, without encryption
        await asyncio.sleep(900)
        assert world.air.bonds == set()
        assert not world.host.bonds.lost
        assert world.host.bonds.replaced == 1

    in_world(test, 1)


def test_services_that_moved_cost_one_more_connection() -> None:  # case L4
    async def test(world: World) -> None:
        [address] = world.addresses
        world.air.keeps_services = True
        device = world.air.devices[address]
        world.air.cut(address)
        await asyncio.sleep(10)
        device.first_handle, device.layout, device.service_data = 14, 2, b"\x00\x02"
        world.air.cut(address)
        at = virtual_now()
        await asyncio.sleep(10)
        assert world.links.proved_at[address][-1] > at

    in_world(test, 1)


def test_strangers_do_not_keep_a_device_from_its_turns() -> None:
    async def test(world: World) -> None:
        for n in range(40):
            stranger = AirDevice(f"D0:00:00:00:00:{n:02X}")
            world.air.add(stranger)
            world.links.strangers.add(stranger.address)
        await asyncio.sleep(120)
        at = virtual_now()
        await asyncio.sleep(120)
        assert world.all_back_since(at)

    in_world(test, 8)


def test_a_device_that_waits_and_goes_away_is_said_to_be_offline() -> None:
    async def test(world: World) -> None:
        await asyncio.sleep(60)
        gone = next(a for a in world.addresses if a not in world.radio.links)
        device = world.registry.get(device_of(gone))
        assert device is not None
        assert device.waits_for_link
        world.air.devices[gone].is_silent, world.air.devices[gone].connects = True, False
        await asyncio.sleep(AWAY_S + 20)
        assert not device.is_up
        assert world.local.published == [(f"devices/{device.device_id}/status", b"offline")]

    in_world(test, 10)


def test_link_and_signal_are_attributes_of_the_device() -> None:
    async def test(world: World) -> None:
        [device] = world.registry.all()
        assert device.attributes == {"link": "ble", "rssi": -60}

    in_world(test, 1)


def test_people_see_links_and_waiting_devices_and_metrics_count_them() -> None:
    async def test(world: World) -> None:
        await asyncio.sleep(120)
        shown = world.bluetooth.describe()
        assert shown["adapter"] == {"address": ADDRESS, "name": "hci0"}
        assert len(shown["links"]) + len(shown["waiting"]) == 10
        assert {each["device_id"] for each in shown["waiting"]} <= set(
            map(device_of, world.addresses)
        )
        json.dumps(shown)
        lines = dict(radio_lines(shown))
        assert lines["adapter"] == f"{ADDRESS} (hci0)"
        assert lines["links"].startswith("3 of 3; ")
        assert len(link_row(shown["links"][0])) == len(waiting_row(shown["waiting"][0]))
        samples = {s.name: s.value for m in radio_metrics(shown) for s in m.samples}
        assert samples["hecate_bluetooth_links"] == 3
        assert samples["hecate_bluetooth_parked_total"] == shown["counters"]["parked"] > 0
        assert world.bluetooth.warning() == ""
        world.air.unplug()
        await asyncio.sleep(10)
        assert "plug one in" in world.bluetooth.warning()
        [closed] = world.bluetooth.closed()
        assert closed.problem == world.bluetooth.describe()["problem"]

    in_world(test, 10)


def test_the_owner_gives_up_a_bond_and_the_device_is_connected_at_once() -> None:  # case L5
    async def test(world: World) -> None:
        [address] = world.addresses
        assert "no bond" in await world.bluetooth.forget_bond(address)
        world.air.bonds.add(address)
        world.air.devices[address].refuses_bond = True
        world.air.cut(address)
        await asyncio.sleep(10)
        assert "lost" in world.bluetooth.warning()
        at = virtual_now()
        assert await world.bluetooth.forget_bond(address) == ""
        await asyncio.sleep(5)
        assert world.links.proved_at[address][-1] > at
        assert world.bluetooth.warning() == ""

    in_world(test, 1)
