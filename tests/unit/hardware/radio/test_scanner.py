"""Tests the scanner against a stack that lies, in virtual time."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from hardware.radio.adapters import Adapter
from hardware.radio.advertisement import Advertisement
from hardware.radio.advertisement_source import AdvertisementSource
from hardware.radio.backend_call import BackendCalls
from hardware.radio.scanner import Scanner
from tests.fake_air import ADDRESS, Air, AirDevice, running
from tests.virtual_time import run_virtual, virtual_now

ADAPTER = Adapter(ADDRESS, "hci0")
Test = Callable[["Air", "Scanner", "list[float]"], Coroutine[Any, Any, None]]


def scan(test: Test, has_links: bool = False) -> None:
    """Run a test with a scanner that runs, and the times at which it heard something."""

    async def main() -> None:
        air, source = Air(), AdvertisementSource()
        air.add(AirDevice("AA:00:00:00:00:01"))
        heard: list[float] = []

        def listen(advertisement: Advertisement) -> None:
            assert advertisement.address == "AA:00:00:00:00:01"
            heard.append(virtual_now())

        source.add_listener(listen)
        scanner = Scanner(air.backend(), BackendCalls(), source, virtual_now)
        async with running(scanner.run(ADAPTER, lambda: has_links)) as task:
            await asyncio.sleep(5)
            assert heard
            heard.clear()
            await test(air, scanner, heard)
            assert not task.done()

    run_virtual(main())


def test_a_scanner_that_falls_silent_is_replaced_within_half_a_minute() -> None:  # case L1
    async def test(air: Air, scanner: Scanner, heard: list[float]) -> None:
        air.scanners[-1].is_dead = True
        await asyncio.sleep(30)
        assert heard
        assert scanner.counters.silent == 1

    scan(test)


def test_replaced_scanners_that_are_silent_as_well_are_replaced_again() -> None:  # case L1
    async def test(air: Air, scanner: Scanner, heard: list[float]) -> None:
        air.scanners[-1].is_dead = True
        air.silent_scanners = 1
        await asyncio.sleep(30)
        assert heard
        assert scanner.counters.silent == 2

    scan(test)


def test_a_stop_that_fails_does_not_end_scanning() -> None:  # case L1
    async def test(air: Air, scanner: Scanner, heard: list[float]) -> None:
        air.stops_in_progress = 3
        for _ in range(3):
            air.scanners[-1].is_dead = True
            heard.clear()
            await asyncio.sleep(30)
            assert heard
        assert scanner.counters.stop_failed == 3
        assert scanner.counters.late == 0, "dead scanners report nothing"

    scan(test)


def test_what_an_abandoned_scanner_reports_does_not_hide_the_silence_of_the_next() -> None:
    async def test(air: Air, scanner: Scanner, heard: list[float]) -> None:
        air.stops_in_progress = air.silent_scanners = 1
        async with scanner.paused():  # stop() fails, so the first one goes on
            pass
        await asyncio.sleep(2)
        heard.clear()
        await asyncio.sleep(20)
        assert scanner.counters.late > 0
        assert scanner.counters.silent == 1
        assert heard

    scan(test)


def test_a_scan_that_was_cancelled_by_its_timeout_is_followed_by_another() -> None:  # case L1
    async def test(air: Air, scanner: Scanner, heard: list[float]) -> None:
        air.scanners[-1].is_dead = True
        air.starts_hang, air.starts_in_progress = 1, 1
        await asyncio.sleep(30)
        assert heard
        assert scanner.counters.start_failed == 2

    scan(test)


@pytest.mark.parametrize("has_links", [False, True])
def test_an_adapter_that_refuses_to_scan_is_switched_off_and_on(has_links: bool) -> None:  # L1
    async def test(air: Air, _: Scanner, heard: list[float]) -> None:
        air.scanners[-1].is_dead = True
        air.starts_in_progress = 4
        await asyncio.sleep(30)
        assert air.restarts == 1
        assert heard

    scan(test, has_links=has_links)


def test_an_adapter_with_links_that_hears_nothing_is_spared_longer() -> None:
    async def test(air: Air, scanner: Scanner, _: list[float]) -> None:
        air.is_silent = True
        await asyncio.sleep(100)
        assert scanner.counters.silent >= 4
        assert air.restarts == 0

    scan(test, has_links=True)


def test_a_place_without_devices_costs_ever_fewer_scanners() -> None:
    async def test(air: Air, scanner: Scanner, heard: list[float]) -> None:
        air.devices["AA:00:00:00:00:01"].is_silent = True
        await asyncio.sleep(3600)
        assert scanner.counters.silent < 25
        assert air.restarts == 1
        air.devices["AA:00:00:00:00:01"].is_silent = False
        await asyncio.sleep(2)
        assert heard

    scan(test)


def test_a_pause_stops_scanning_and_ends() -> None:
    async def test(air: Air, scanner: Scanner, heard: list[float]) -> None:
        async with scanner.paused():
            assert not air.scanners
            assert not scanner.is_scanning
            heard.clear()
            await asyncio.sleep(60)
            assert not heard
        await asyncio.sleep(5)
        assert heard
        assert scanner.counters.silent == 0

    scan(test)


def test_a_listener_that_fails_hurts_no_other() -> None:
    source, heard = AdvertisementSource(), list[str]()

    def fail(_: Advertisement) -> None:
        raise ValueError

    source.add_listener(fail)
    remove = source.add_listener(lambda a: heard.append(a.address))
    source.deliver(Advertisement("A", -60, 0.0))
    remove()
    source.deliver(Advertisement("B", -60, 0.0))
    assert heard == ["A"]
    assert source.failed == 2
