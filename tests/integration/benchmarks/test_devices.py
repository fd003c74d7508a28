"""Each measurement of devices works and counts right; no time is judged."""

import asyncio
from pathlib import Path

import pytest

from benchmarks.devices.__main__ import render
from benchmarks.devices.links import measure_links
from benchmarks.devices.measure import (
    compile_client,
    measure_heap,
    measure_outage,
    measure_rate,
    running,
)
from benchmarks.errors import UnableError


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_package_is_measured_and_loses_nothing_in_an_outage(tmp_path: Path) -> None:
    assert compile_client("hecate", tmp_path, tmp_path) > 30_000
    assert 40_000 < asyncio.run(measure_heap("hecate", tmp_path)) < 120_000
    assert asyncio.run(measure_rate("hecate", tmp_path, 50)) > 0
    found = asyncio.run(measure_outage("hecate", tmp_path, 2.5))
    assert found["lost"] == 0
    assert found["due"] > 50


def test_a_rival_without_sources_is_left_out(tmp_path: Path) -> None:
    with pytest.raises(UnableError, match=r"umqtt/simple\.py is not in"):
        compile_client("umqtt.robust", tmp_path, tmp_path)
    page = render({"row": {"hecate": "1"}}, {"trips": {"Bluetooth LE": "2"}})
    assert "| row | 1 | - | - |" in page
    assert "| trips | - | 2 |" in page


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_links_without_ip_are_measured_and_come_back() -> None:
    for figures in asyncio.run(measure_links(quick=True)).values():
        assert len(figures) == 4
        rate = figures["round trips of 200 B a second (QoS 1)"]
        assert int(rate.replace(",", "")) > 0


def test_readings_that_do_not_come_are_counted_as_lost(tmp_path: Path) -> None:
    compile_client("hecate", tmp_path, tmp_path)

    async def stage() -> set[int]:
        async with running("hecate", tmp_path, heap=False, burst=0) as program:
            slots = program.slots()
            lost = b'"value": %d,' % max(slots)
            received = program.recorder.received
            program.recorder.received = [each for each in received if lost not in each[1]]
            return slots - program.slots()

    assert len(asyncio.run(stage())) == 1
