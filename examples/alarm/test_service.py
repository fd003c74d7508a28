"""Tests of alarm; `pytest examples/alarm` runs them without a gateway."""

import asyncio
import hashlib
import hmac

from service import service

READINGS = "devices/attic/readings/temperature"
HOOK = "https://hooks.example.com/alarm"


def states(t):
    return [message.value["state"] for message in t.published]


def test_a_room_must_cool_well_below_the_limit():
    async def main():
        async with service.test() as t:
            for value in (29, 31, 29, 32, 28, 31):
                await t.publish(READINGS, {"value": value})
            assert states(t) == ["alarm", "ok", "alarm"]
            assert t.published[0].retain
            assert (await t.get("/rooms")).json() == {"attic": "alarm"}

    asyncio.run(main())


def test_the_limit_may_change_meanwhile():
    async def main():
        async with service.test() as t:
            await t.publish(READINGS, {"value": 25})
            await t.change_settings(limit=20)
            await t.publish(READINGS, {"value": 25})
            assert states(t) == ["alarm"]

    asyncio.run(main())


def test_the_webhook_gets_a_signed_change():
    async def main():
        secrets = {"webhook_secret": "s3"}
        async with service.test(settings={"webhook": HOOK}, secrets=secrets) as t:
            t.answer(HOOK, {})
            await t.publish(READINGS, {"value": 31})
            (sent,) = t.sent
            assert sent.json()["state"] == "alarm"
            signature = hmac.new(b"s3", sent.body, hashlib.sha256).hexdigest()
            assert sent.headers["x-hub-signature-256"] == f"sha256={signature}"

    asyncio.run(main())


def test_a_change_that_the_webhook_refuses_is_told_again():
    async def main():
        secrets = {"webhook_secret": "s3"}
        async with service.test(settings={"webhook": HOOK}, secrets=secrets) as t:
            t.answer(HOOK, {}, status=503)
            await t.publish(READINGS, {"value": 31})
            assert len(t.dead_letters) == 1
            t.answer(HOOK, {})
            await t.publish(READINGS, {"value": 31})
            assert (await t.get("/rooms")).json() == {"attic": "alarm"}

    asyncio.run(main())
