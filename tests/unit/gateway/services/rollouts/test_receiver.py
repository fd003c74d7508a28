"""Orders at the node that carries them out: the image, the container, its probation."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.errors import UplinkLost
from gateway.http.replay import ReplayVerdict
from gateway.services.errors import ImageError
from gateway.services.images.catalogue import StoredImage
from gateway.services.rollouts.orders import OrderProgress, OrderState, RolloutOrder
from gateway.services.rollouts.receiver import ORDERS_KEPT, RolloutReceiver
from gateway.services.rollouts.store import RolloutStore
from gateway.services.rollouts.used_codes import CODES_KEPT, UsedCodes
from tests.aio import until
from tests.programs import PATIENCE
from tests.unit.gateway.services.fake_runtime import LIMITS
from tests.unit.gateway.services.test_deployments import Bench

OWN, OTHER = "0" * 56, "1" * 56


class Site:
    """Deployments, a receiver, and another node that has an image."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench = bench
        self.pulled: list[tuple[str, str, str, str]] = []
        self.digest = ""  # the digest in the last order
        self.fault: Exception | None = None
        self.now = 1000.0
        self.store = RolloutStore(folder)
        self.restart()

    def restart(self) -> None:
        """Forget all that is not on disk."""
        codes = UsedCodes(self.store, lambda: self.now)
        self.receiver = RolloutReceiver(
            OWN, self.bench.deployments, self._pull, codes, LIMITS.probation_s
        )

    async def _pull(
        self, client_id: str, node_id: str, image_id: str, code: str, digest: str
    ) -> StoredImage:
        self.pulled.append((client_id, node_id, image_id, code))
        self.digest = digest
        if self.fault is not None:
            raise self.fault
        return await self.bench.upload()

    async def carry_out(self, rollout_id: str = "r", source: str = OTHER) -> OrderProgress:
        order = RolloutOrder(
            rollout_id, "api", "one", "api-probe-v1", "sha256:1", source, "code", {"V": "1"}
        )
        await self.receiver.take(order)
        ends = (OrderState.READY, OrderState.FAILED, OrderState.LOST)
        await until(lambda: self.progress(rollout_id).state in ends)
        return self.progress(rollout_id)

    def progress(self, rollout_id: str) -> OrderProgress:
        progress = self.receiver.show(rollout_id)
        assert progress is not None
        return progress


def run(folder: Path, scenario: Callable[[Site], Awaitable[None]]) -> None:
    async def whole() -> None:
        bench = Bench(folder)
        await bench.deployments.resume()
        site = Site(bench, folder)
        try:
            await scenario(site)
        finally:
            await site.receiver.stop()
            await site.store.close()
            await bench.deployments.stop()

    asyncio.run(asyncio.wait_for(whole(), 20 * PATIENCE))


def test_an_order_fetches_the_image_and_is_ready_after_the_probation(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        assert await site.carry_out() == OrderProgress(OrderState.READY)
        assert site.pulled == [("api", OTHER, "api-probe-v1", "code")]
        running = site.bench.deployments.table.known("api", "api-one").history.running
        assert running is not None
        assert (running.good, running.env) == (True, {"V": "1"})
        assert await site.carry_out("again", OWN) == OrderProgress(OrderState.READY)
        assert len(site.pulled) == 1  # the image is this node's own
        assert len(site.bench.runtime.processes) == 1

    run(tmp_path, scenario)


def test_a_version_that_crashes_on_probation_fails_the_order(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        await site.bench.upload()
        await site.bench.deploy("one", V="0")
        carrying = asyncio.ensure_future(site.carry_out())
        await until(lambda: len(site.bench.runtime.processes) == 2)
        await until(lambda: site.progress("r").state is OrderState.STARTING)
        await asyncio.sleep(0.05)
        site.bench.runtime.processes[1].end("it exited with status 1")
        progress = await carrying
        assert progress.state is OrderState.FAILED
        assert "it exited with status 1; version 1 runs again" in progress.error

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        (UplinkLost("cannot reach node 111111111111"), OrderState.LOST),
        (ImageError("cannot accept image: not signed"), OrderState.FAILED),
        (RuntimeError("a fault"), OrderState.FAILED),
    ],
)
def test_an_image_that_does_not_come_is_told(
    tmp_path: Path, fault: Exception, state: OrderState
) -> None:
    async def scenario(site: Site) -> None:
        site.fault = fault
        assert (await site.carry_out()).state is state
        site.fault = None
        assert (await site.carry_out()).state is OrderState.READY  # the same order, given again

    run(tmp_path, scenario)


def test_a_burst_of_orders_leaves_a_bounded_memory_of_them(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        site.fault = ImageError("cannot accept image")
        for number in range(ORDERS_KEPT + 20):
            await site.carry_out(str(number))
        assert site.receiver.show("0") is None
        assert len(site.receiver._orders) == ORDERS_KEPT

    run(tmp_path, scenario)


def test_the_image_must_be_the_one_of_the_order(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        await site.carry_out()
        assert site.digest == "sha256:1"

    run(tmp_path, scenario)


def test_an_order_that_is_sent_again_by_another_begins_nothing(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        order = RolloutOrder(
            "r", "api", "one", "api-probe-v1", "sha256:1", OWN, "code", {"V": "1"}
        )  # fmt: skip
        await site.bench.upload()
        await site.receiver.take(order, "1120.shown")
        await until(lambda: site.progress("r").state is OrderState.READY)
        await site.bench.deploy("one", V="2")
        assert (await site.receiver.take(order, "1120.shown")).state is OrderState.READY
        assert not site.receiver._tasks
        again = await site.receiver.take(order, "1121.shown")
        assert again.state is OrderState.TRANSFERRING

    run(tmp_path, scenario)


def test_a_restart_forgets_no_code(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        order = RolloutOrder("r", "api", "one", "api-probe-v1", "sha256:1", OWN, "code")

        async def give(code: str) -> str:
            site.restart()
            progress = await site.receiver.take(order, code)
            if progress.state is not OrderState.TRANSFERRING:
                return progress.error
            await until(lambda: site.progress("r").state is OrderState.READY)
            return ""

        await site.bench.upload()
        assert await give("1120.first") == ""
        assert await give("1120.first") == "cannot take order: it was seen before"
        site.now = 1200.0
        assert await give("1320.second") == ""
        assert await give("1120.first") == "cannot take order: it has expired"
        site.now = 1100.0  # the clock is set back
        assert await give("1120.first") == "cannot take order: it has expired"
        site.now = 1400.0
        assert await give("1500.third") == ""  # the store forgets the others
        assert len(await site.store.codes()) == 2
        site.now = 1100.0
        for late in ("1120.first", "1320.second"):
            assert await give(late) == "cannot take order: it has expired"

    run(tmp_path, scenario)


def test_codes_on_disk_are_bounded(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        codes = UsedCodes(site.store, lambda: site.now)
        verdicts = [await codes.use(f"1120.{number}") for number in range(CODES_KEPT + 1)]
        assert verdicts[-2:] == [ReplayVerdict.ADMITTED, ReplayVerdict.TOO_MANY]
        site.now = 1300.0
        assert await codes.use("1400.x") is ReplayVerdict.ADMITTED
        assert await codes.use("1401.x") is ReplayVerdict.ADMITTED
        assert len(await site.store.codes()) == 3  # and one for those that are forgotten

    run(tmp_path, scenario)


def test_an_order_whose_code_cannot_be_stored_begins_nothing(tmp_path: Path) -> None:
    async def scenario(site: Site) -> None:
        (tmp_path / "rollouts.db").mkdir()
        order = RolloutOrder("r", "api", "one", "api-probe-v1", "sha256:1", OWN, "code")
        progress = await site.receiver.take(order, "1120.first")
        assert progress.state is OrderState.LOST
        assert "cannot open" in progress.error
        assert site.receiver.show("r") is None

    run(tmp_path, scenario)
