"""Tests of camera; `pytest examples/camera` runs them without a gateway."""

import asyncio

from service import service

PNG = b"\x89PNG\r\n\x1a\n"
SEP_LIMIT_BYTES = 256 * 1024


def test_a_thumbnail_fits_the_sep():
    async def main():
        async with service.test() as t:
            answer = await t.get("/thumbnail")
            assert answer.headers["content-type"] == "image/png"
            assert answer.body.startswith(PNG)
            assert len(answer.body) < SEP_LIMIT_BYTES

    asyncio.run(main())


def test_a_stream_has_as_many_frames_as_wanted():
    async def main():
        async with service.test(settings={"frames_per_s": 60}) as t:
            answer = await t.get("/stream?frames=3")
            assert answer.body.count(PNG) == 3
            assert len(answer.body) > 3 * SEP_LIMIT_BYTES
            assert answer.body.endswith(b"--frame--\r\n")
            assert (await t.get("/stream?frames=-1")).status == 400

    asyncio.run(main())
