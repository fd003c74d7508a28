"""Tests the radio: its adapter, links one at a time, layouts, and the comparison of links."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from hardware.radio.adapters import Adapter
from hardware.radio.errors import (
    AdapterMissingError,
    BondLostError,
    LinkLostError,
    RadioError,
    StaleLayoutError,
)
from hardware.radio.gatt_link import QUEUE_BYTES
from hardware.radio.hecate_service import GREETING, RX
from hardware.radio.radio import Radio
from tests.fake_air import ADDRESS, Air, AirDevice, running
from tests.virtual_time import run_virtual, virtual_now

FIRST, SECOND = "AA:00:00:00:00:01", "AA:00:00:00:00:02"
Test = Callable[[Air, Radio], Coroutine[Any, Any, None]]


def with_radio(test: Test, wanted: str = "", prepare: Callable[[Air], None] | None = None) -> None:
    async def main() -> None:
        air = Air()
        air.add(AirDevice(FIRST))
        air.add(AirDevice(SECOND))
        if prepare is not None:
            prepare(air)
        radio = Radio(air.backend(), wanted, virtual_now)
        async with running(radio.run()) as task:
            await asyncio.sleep(3)
            await test(air, radio)
            assert not task.done()

    run_virtual(main())


def test_chunks_pass_both_ways() -> None:
    async def test(air: Air, radio: Radio) -> None:
        link = await radio.open(FIRST)
        await link.send(b"to the device")
        assert air.devices[FIRST].writes == [(RX, GREETING), (RX, b"to the device")]
        air.devices[FIRST].notify(b"from the device")
        assert await link.receive() == b"from the device"
        assert link.chunk_bytes == 244

    with_radio(test)


def test_what_is_notified_before_the_answer_to_the_subscription_is_taken() -> None:  # case L6
    async def test(air: Air, radio: Radio) -> None:
        air.devices[FIRST].notifies_early = True
        link = await radio.open(FIRST)
        assert await link.receive() == b"early"

    with_radio(test)


def test_an_adapter_that_comes_back_under_another_name_is_used_at_once() -> None:  # case L2
    async def test(air: Air, radio: Radio) -> None:
        link = await radio.open(FIRST)
        air.unplug()
        await asyncio.sleep(6)
        assert radio.adapter is None
        assert "plug one in" in radio.problem
        with pytest.raises(LinkLostError):
            await link.receive()
        with pytest.raises(AdapterMissingError):
            await radio.open(SECOND)
        air.plugged = [Adapter(ADDRESS, "hci1")]
        await asyncio.sleep(7)
        assert radio.problem == ""
        await radio.open(FIRST)  # the old handle had the old path
        assert air.real_links == {FIRST: "hci1"}

    with_radio(test)


def test_an_adapter_that_changes_its_name_unseen_is_used_under_the_new_one() -> None:  # case L2
    async def test(air: Air, radio: Radio) -> None:
        air.lose_all()
        air.plugged = [Adapter(ADDRESS, "hci1")]
        await asyncio.sleep(7)
        await radio.open(FIRST)
        assert air.real_links == {FIRST: "hci1"}

    with_radio(test)


def test_a_daemon_that_is_restarted_is_found_again() -> None:
    async def test(air: Air, radio: Radio) -> None:
        await radio.open(FIRST)
        air.is_down = True
        air.lose_all()
        await asyncio.sleep(10)
        assert radio.adapter is None
        air.is_down = False
        await asyncio.sleep(10)
        await radio.open(FIRST)

    with_radio(test)


def test_the_wanted_adapter_is_waited_for() -> None:
    wanted = "F0:00:00:00:00:99"

    async def test(air: Air, radio: Radio) -> None:
        assert radio.adapter is None
        assert ADDRESS in radio.problem
        air.plugged.append(Adapter(wanted, "hci7"))
        await asyncio.sleep(6)
        assert radio.adapter is not None
        assert radio.adapter.name == "hci7"

    with_radio(test, wanted.lower())


def test_an_opening_ends_when_the_adapter_goes() -> None:
    async def test(air: Air, radio: Radio) -> None:
        air.devices[FIRST].connect_s = 1e6
        opening = asyncio.create_task(radio.open(FIRST))
        await asyncio.sleep(1)
        air.unplug()
        await asyncio.sleep(7)
        assert opening.done()
        with pytest.raises(AdapterMissingError):
            await opening

    with_radio(test)


def test_links_are_opened_one_at_a_time() -> None:
    async def test(air: Air, radio: Radio) -> None:
        air.devices[FIRST].connect_s = 5
        before = virtual_now()
        first, second = await asyncio.gather(radio.open(FIRST), radio.open(SECOND))
        assert virtual_now() - before >= 5.5
        assert {first.address, second.address} == set(air.real_links)

    with_radio(test)


def test_scanning_pauses_for_links_where_the_adapter_needs_it() -> None:
    async def test(air: Air, radio: Radio) -> None:
        air.refuses_while_scanning = True
        with pytest.raises(RadioError, match="progress"):
            await radio.open(FIRST)
        await radio.open(FIRST)
        assert radio.pauses_for_links

    with_radio(test)


def test_a_connect_that_never_ends_is_given_up() -> None:
    async def test(air: Air, radio: Radio) -> None:
        air.devices[FIRST].connect_s = 1e6
        before = virtual_now()
        with pytest.raises(RadioError, match="within 15 s"):
            await radio.open(FIRST)
        assert virtual_now() - before < 30
        await radio.open(SECOND)

    with_radio(test)


def test_services_that_an_update_has_moved_are_discovered_again() -> None:  # case L4
    async def test(air: Air, radio: Radio) -> None:
        air.keeps_services = True
        device = air.devices[FIRST]
        await radio.close(await radio.open(FIRST, 1))
        device.first_handle, device.layout, device.service_data = 13, 2, b"\x00\x02"
        with pytest.raises(StaleLayoutError):
            await radio.open(FIRST, 2)
        await asyncio.sleep(1)
        device.writes.clear()
        link = await radio.open(FIRST, 2)
        await link.send(b"first message")
        assert device.writes == [(RX, GREETING), (RX, b"first message")]
        assert radio.counters.stale_layouts == 1

    with_radio(test)


def test_moved_services_are_noticed_of_a_device_that_advertises_no_layout() -> None:  # case L4
    async def test(air: Air, radio: Radio) -> None:
        air.keeps_services = True
        device = air.devices[FIRST]
        await radio.close(await radio.open(FIRST))
        device.first_handle, device.layout = 11, 2
        with pytest.raises(StaleLayoutError):
            await radio.open(FIRST)
        await asyncio.sleep(1)
        await radio.open(FIRST)

    with_radio(test)


def test_a_bond_is_not_given_up_for_services_that_moved() -> None:
    async def test(air: Air, radio: Radio) -> None:
        air.keeps_services = True
        await radio.close(await radio.open(FIRST))
        air.devices[FIRST].first_handle, air.devices[FIRST].layout = 13, 2
        air.bonds.add(FIRST)
        with pytest.raises(RadioError, match="--forget"):
            await radio.open(FIRST)
        assert air.bonds == {FIRST}

    with_radio(test)


def test_a_refused_bond_is_told_apart_and_kept() -> None:  # case L5
    async def test(air: Air, radio: Radio) -> None:
        air.bonds.add(FIRST)
        air.devices[FIRST].refuses_bond = True
        with pytest.raises(BondLostError):
            await radio.open(FIRST)
        assert air.bonds == {FIRST}
        await radio.forget(FIRST)
        await asyncio.sleep(1)
        await radio.open(FIRST)

    with_radio(test)


def test_a_link_that_died_without_a_word_is_found() -> None:  # case L3
    async def test(air: Air, radio: Radio) -> None:
        link = await radio.open(FIRST)
        air.hides_disconnects = True
        air.cut(FIRST)
        assert not link.is_lost
        await radio.compare_links()
        assert link.is_lost
        assert not radio.links
        assert radio.counters.dead_closed == 1

    with_radio(test)


def test_a_link_that_leaked_is_closed() -> None:  # case L3
    async def test(air: Air, radio: Radio) -> None:
        air.leaks_links = True
        await radio.close(await radio.open(FIRST))
        assert air.real_links
        await radio.compare_links()
        assert not air.real_links
        assert radio.counters.leaked_closed == 1

    with_radio(test)


def test_a_comparison_leaves_a_link_alone_that_is_being_opened() -> None:
    async def test(air: Air, radio: Radio) -> None:
        opening = asyncio.create_task(radio.open(FIRST))
        await asyncio.sleep(0.505)  # it is connected, and being subscribed to
        assert air.real_links
        await radio.compare_links()
        await opening
        assert air.real_links
        assert radio.counters.leaked_closed == 0

    with_radio(test)


def test_a_radio_that_stops_closes_its_links_and_its_scanner() -> None:
    async def main() -> None:
        air = Air()
        air.add(AirDevice(FIRST))
        radio = Radio(air.backend(), "", virtual_now)
        async with running(radio.run()):
            await asyncio.sleep(3)
            await radio.open(FIRST)
            assert air.scanners
        assert not air.real_links
        assert not air.scanners

    run_virtual(main())


def test_a_burst_that_nobody_takes_is_bounded() -> None:
    async def test(air: Air, radio: Radio) -> None:
        link = await radio.open(FIRST)
        for _ in range(1000):
            air.devices[FIRST].notify(bytes(200))
        taken = 0
        while link.counters.overflowed and taken < QUEUE_BYTES // 200:
            await link.receive()
            taken += 1
        assert taken == QUEUE_BYTES // 200
        assert link.counters.overflowed == 1000 - taken

    with_radio(test)


def test_a_write_that_fails_ends_the_link() -> None:
    async def test(air: Air, radio: Radio) -> None:
        link = await radio.open(FIRST)
        air.hides_disconnects = True
        air.cut(FIRST)
        with pytest.raises(LinkLostError):
            await link.send(b"x")
        assert link.is_lost

    with_radio(test)
