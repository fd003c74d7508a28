"""Tests of climate; `pytest examples/climate` runs them without a gateway."""

import asyncio

from service import service


def test_celsius_become_fahrenheit():
    async def main():
        async with service.test() as t:
            await t.publish("devices/attic/readings/temperature", {"value": 21.5, "seq": 1})
            latest = {"value": 70.7, "unit": "°F", "seq": 1}
            assert t.published == [("rooms/attic/fahrenheit", latest)]
            assert (await t.get("/rooms/attic")).json() == {"room": "attic", **latest}
            assert (await t.get("/rooms/cellar")).status == 404

    asyncio.run(main())


def test_bytes_stream_both_ways():
    async def main():
        async with service.test() as t:
            blob = await t.get("/blob/100000")
            assert len(blob.body) == int(blob.headers["content-length"]) == 100_000
            assert (await t.post("/echo", blob.body)).body == blob.body

    asyncio.run(main())
