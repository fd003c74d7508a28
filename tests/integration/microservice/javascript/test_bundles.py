"""A bundle as it is published for compatible runtimes runs unmodified."""

import asyncio
from pathlib import Path

from tests.integration.microservice.javascript.runtime import Script, script

ROUTER = (Path(__file__).parent / "bundles/router.js").read_text()


def test_a_bundle_of_older_runtimes_runs(tmp_path: Path) -> None:
    async def use(running: Script) -> None:
        hello = await running.get("/hello?x=1")
        assert (hello.status, hello.json()) == (200, {"JSONMessage": "hello"})
        missing = await running.get("/none")
        assert (missing.status, missing.text) == (404, "Cannot GET /none")
        assert missing.headers["content-type"] == "text/plain"
        broken = await running.get("/error")
        assert (broken.status, broken.text) == (500, "no such luck")
        for i in range(3):
            created = await running.post("/items", {"id": f"k{i}", "text": "hé"})
            assert created.status == 201
        items = (await running.get("/items")).json()["data"]
        assert items == [{"id": f"k{i}", "text": "hé"} for i in range(3)]
        assert running.counters.handled == 7
        assert running.counters.failed == 0

    async def main() -> None:
        async with script(tmp_path, ROUTER) as running:
            await use(running)

    asyncio.run(main())
