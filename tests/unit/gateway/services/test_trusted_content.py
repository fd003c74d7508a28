"""Every way to code that was stored before: none leads past signature and digest."""

import asyncio
import io
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.services.errors import ImageError
from gateway.services.images.pack import pack_image
from gateway.services.rollouts.orders import OrderState, RolloutOrder
from gateway.services.rollouts.receiver import RolloutReceiver
from gateway.services.rollouts.store import RolloutStore
from gateway.services.rollouts.used_codes import UsedCodes
from tests.aio import until
from tests.unit.gateway.services.fake_runtime import LIMITS
from tests.unit.gateway.services.test_deployments import Bench, run, versions

KEYS = replace(LIMITS, rules=replace(LIMITS.rules, trusted_keys=frozenset({"ed25519:x"})))
STRICT = replace(LIMITS, rules=replace(LIMITS.rules, require_signature=True))


def test_no_way_leads_to_unsigned_code_of_before(tmp_path: Path) -> None:
    async def before(bench: Bench) -> None:
        await bench.upload("one = 1", "probe")
        await bench.deploy("one")
        await bench.upload("two = 2", "other")
        await bench.deploy("one", "other-v1")

    run(tmp_path, before)

    async def strict() -> None:
        bench = Bench(tmp_path, STRICT)
        await bench.deployments.resume()
        try:
            with pytest.raises(ImageError, match="it is not signed by"):
                await bench.deploy("one", "probe-v1")
            with pytest.raises(ImageError, match="it is not signed by"):
                await bench.deployments.change_container("api", "api-one", "probe-v1", None)
            with pytest.raises(ImageError, match="it is not signed by"):
                await bench.deployments.roll_back("api", "api-one", None)
            assert versions(bench) == {1: "replaced", 2: "running"}  # version 2 runs on
        finally:
            await bench.deployments.stop()

    asyncio.run(asyncio.wait_for(strict(), 20))


def test_an_image_of_another_digest_changes_nothing(tmp_path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        image = await bench.upload("one = 1")
        await bench.deploy("one")
        folder = tmp_path / "source-probe"
        (folder / "service.py").write_text("bad = 1")
        swapped = io.BytesIO(pack_image(folder))
        with pytest.raises(ImageError, match="not sha256:"):
            await bench.deployments.put_image("api", swapped, 1.0, digest=image.digest)
        assert bench.digest("api-one") == image.digest
        assert bench.deployments.images("api") == [image]

    run(tmp_path, scenario)


def test_a_node_with_trusted_keys_runs_nothing_unsigned_that_another_node_orders(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        bench = Bench(tmp_path, KEYS)
        await bench.deployments.resume()

        async def pull(*_: str) -> object:
            return await bench.upload("one = 1")

        store = RolloutStore(tmp_path)
        codes = UsedCodes(store, lambda: 1.0)
        receiver = RolloutReceiver("0" * 56, bench.deployments, pull, codes, 0.1)
        order = RolloutOrder("r", "api", "one", "api-probe-v1", "sha256:1", "1" * 56, "code")
        try:
            await receiver.take(order, "1.shown")
            await until(lambda: receiver._orders["r"][1].state is OrderState.FAILED)
            assert "it is not signed by" in receiver._orders["r"][1].error
            assert not bench.runtime.processes
            await receiver.take(order)  # a person has ordered it here
            await until(lambda: receiver._orders["r"][1].state is OrderState.READY)
        finally:
            await receiver.stop()
            await store.close()
            await bench.deployments.stop()

    asyncio.run(asyncio.wait_for(scenario(), 20))
