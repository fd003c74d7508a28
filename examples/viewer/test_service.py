"""Tests of viewer; `pytest examples/viewer` runs them without a gateway and a camera."""

import asyncio

from service import service

BEP = "https://relay.example.com:8443/abc"


def test_a_thumbnail_is_that_of_the_camera():
    async def main():
        async with service.test() as t:
            t.answer("api-camera/thumbnail", b"\x89PNG")
            assert (await t.get("/thumbnail")).body == b"\x89PNG"

    asyncio.run(main())


def test_the_stream_comes_through_a_bep():
    async def main():
        async with service.test() as t:
            t.answer("api-camera/bep?hmac=c", {"href": BEP})
            url = f"{BEP}/api/camera/v1/stream?frames=2"
            t.answer(url, b"--frame\r\ncontent-type: image/png\r\n\r\n12345\r\n" * 2)
            answer = await t.get("/measure?code=c&frames=2")
            assert answer.json()["frames"] == 2
            assert [request.url for request in t.sent][1:] == [url]

    asyncio.run(main())


def test_a_wrong_code_is_told():
    async def main():
        async with service.test() as t:
            t.answer("api-camera/bep?hmac=c", {"detail": "cannot open BEP"}, status=403)
            assert (await t.get("/measure?code=c")).status == 403

    asyncio.run(main())
