"""Tests of hourly; `pytest examples/hourly` runs them without a gateway, and in no time."""

import asyncio

from service import HOUR_S, service

EIGHT = 1_800_000_000  # 2027-01-15 08:00 UTC
READINGS = "devices/attic/readings/temperature"


def test_an_hour_is_published_when_it_is_over():
    async def main():
        async with service.test(now=EIGHT) as t:
            for value in (20, 22, 27):
                await t.publish(READINGS, {"value": value})
                await t.advance(600)
            assert t.published == []
            await t.advance(1800 + 120)
            hour = {"hour": "2027-01-15T08:00:00+00:00", "series": "attic/temperature"}
            hour |= {"count": 3, "min": 20, "max": 27, "mean": 23.0}
            assert t.published == [("hourly/attic/temperature", hour)]
            assert t.published[0].retain
            await t.advance(2 * HOUR_S)
            assert len(t.published) == 1

    asyncio.run(main())


def test_a_late_reading_corrects_its_hour():
    async def main():
        async with service.test(now=EIGHT) as t:
            await t.publish(READINGS, {"value": 20})
            await t.advance(HOUR_S + 60)
            await t.publish(READINGS, {"value": 21, "time": EIGHT + 10})  # late, but not yet told
            await t.advance(60)
            await t.publish(READINGS, {"value": 30, "time": EIGHT + 20})
            assert [(m.value["count"], m.value["max"]) for m in t.published] == [(2, 21), (3, 30)]

    asyncio.run(main())


def test_a_reading_that_is_days_late_or_early_counts_nowhere():
    async def main():
        async with service.test(now=EIGHT) as t:
            await t.publish(READINGS, {"value": 20, "time": EIGHT - 25 * HOUR_S})
            await t.publish(READINGS, {"value": 20, "time": EIGHT + HOUR_S})
            assert (await t.get("/hours")).json() == {"data": []}

    asyncio.run(main())


def test_old_hours_are_deleted():
    async def main():
        async with service.test(now=EIGHT) as t:
            await t.publish(READINGS, {"value": 20})
            await t.advance(26 * HOUR_S)
            assert await service.state.keys() == []

    asyncio.run(main())
