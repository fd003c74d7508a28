"""Tests of the webhook; `pytest` runs them without a gateway."""

import asyncio
import hmac
from pathlib import Path

from microservice import ScriptTest

SECRET, TARGET = "s3cret", "https://hooks.example.com/alarms"


def webhook(**settings):
    return ScriptTest(Path(__file__).parent, settings=settings, secrets={"hook_secret": SECRET})


def signed(body):
    digest = hmac.new(SECRET.encode(), body.encode(), "sha256").hexdigest()
    return {"content-type": "application/json", "x-hub-signature-256": f"sha256={digest}"}


def test_a_signed_hook_becomes_a_message():
    async def main():
        async with webhook() as t:
            body = '{"ref": "main"}'
            assert (await t.post("/hooks/git", body, headers=signed(body))).status == 200
            assert (await t.post("/hooks/git", body, headers=signed("other"))).status == 401
            assert (await t.post("/other", body, headers=signed(body))).status == 404
            assert t.published == [("hooks/git", {"ref": "main"})]

    asyncio.run(main())


def test_an_alarm_goes_out_and_is_tried_again():
    async def main():
        async with webhook(target=TARGET) as t:
            t.answer(TARGET, {})
            await t.publish("alarms/attic", {"value": 31})
            assert t.sent[-1].json() == {"topic": "alarms/attic", "alarm": {"value": 31}}
            t.answer(TARGET, "busy", status=503)
            await t.publish("alarms/attic", {"value": 32})
            assert len(t.sent) == 1 + 3
            assert [letter.value for letter in t.dead_letters] == [{"value": 32}]

    asyncio.run(main())
