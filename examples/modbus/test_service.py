"""Tests of modbus against the simulated meter; they need `pip install 'pymodbus[serial]'`."""

import asyncio
import contextlib
import os
import threading

import pytest

pytest.importorskip("pymodbus")

from meter import answer, framed, open_line, serve
from service import service

VALUES = [
    ("meters/1/voltage", {"value": 230.5, "unit": "V"}),
    ("meters/1/current", {"value": 4.12, "unit": "A"}),
    ("meters/1/energy", {"value": 123.456, "unit": "kWh"}),
]


@pytest.fixture
def port():
    line, path = open_line()

    def run():
        with contextlib.suppress(OSError):  # the line is closed at the end
            serve(line)

    threading.Thread(target=run, daemon=True).start()
    yield path
    os.close(line)


def test_a_meter_is_polled(port):
    async def main():
        async with service.test(settings={"port": port}) as t:
            await t.advance(5)
            assert t.published == VALUES
            assert (await t.get("/latest")).json()["values"]["voltage"]["value"] == 230.5

    asyncio.run(main())


def test_a_meter_that_is_away_stops_nothing(port):
    async def main():
        async with service.test(settings={"port": port, "unit": 7}) as t:
            await t.advance(5)
            assert t.published == []
            assert "No response" in (await t.get("/latest")).json()["error"]
            await t.change_settings(unit=1)
            await t.advance(5)
            assert t.published == VALUES

    asyncio.run(main())


def test_the_simulation_refuses_as_a_meter_does():
    # the CRC of this request is an example in many manuals
    assert framed(bytes.fromhex("010400000001")).hex() == "01040000000131ca"
    assert answer(framed(bytes.fromhex("010600000001")))[1:3] == b"\x86\x01"
    assert answer(framed(bytes.fromhex("010400090001")))[1:3] == b"\x84\x02"
    assert answer(bytes.fromhex("0104000000010000")) == b""
