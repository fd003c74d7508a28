"""Roll-outs from one node: orders by the plan, steps on disk, nodes that come back."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.services.errors import ConflictError, NotFoundError, ServicesError
from gateway.services.rollouts import coordinator
from gateway.services.rollouts import plan as plans
from gateway.services.rollouts.coordinator import ROLLOUTS_KEPT, Rollouts, plan_for
from gateway.services.rollouts.orders import OrderProgress, OrderState, RolloutOrder
from gateway.services.rollouts.peers import PeerLostError, PeerRefusedError
from gateway.services.rollouts.plan import RolloutNodeState, RolloutState
from gateway.services.rollouts.store import Rollout, RolloutStore
from tests.aio import until
from tests.programs import PATIENCE

S = RolloutNodeState
IMAGE = ("api-probe-v1", "sha256:1")


class Nodes:
    """Other nodes: some are away, some refuse, some fail, the others become ready at once."""

    def __init__(self) -> None:
        self.away: set[str] = set()
        self.refusing: set[str] = set()
        self.broken: set[str] = set()
        self.given: list[str] = []
        self.orders: dict[str, RolloutOrder] = {}

    async def give(self, node_id: str, order: RolloutOrder) -> OrderProgress:
        self.given.append(node_id)
        if node_id in self.away:
            raise PeerLostError("its cluster is not connected")
        if node_id in self.refusing:
            raise PeerRefusedError("it takes no roll-outs")
        self.orders[node_id] = order
        return OrderProgress(OrderState.TRANSFERRING)

    async def ask(self, node_id: str, rollout_id: str) -> OrderProgress | None:
        if node_id in self.away:
            raise PeerLostError("its cluster is not connected")
        assert self.orders[node_id].rollout_id == rollout_id
        if node_id in self.broken:
            return OrderProgress(OrderState.FAILED, "cannot start api-probe: no sensor")
        return OrderProgress(OrderState.READY)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator, "POLL_S", 0.001)
    monkeypatch.setattr(plans, "FIRST_RETRY_S", 0.02)
    monkeypatch.setattr(plans, "LONGEST_RETRY_S", 0.05)


def run(folder: Path, nodes: Nodes, scenario: Callable[[Rollouts], Awaitable[None]]) -> None:
    async def whole() -> None:
        rollouts = Rollouts("own", RolloutStore(folder), nodes, lambda image_id: f"code {image_id}")
        running = asyncio.create_task(rollouts.run())
        try:
            await scenario(rollouts)
        finally:
            running.cancel()
            await rollouts.stop()

    asyncio.run(asyncio.wait_for(whole(), 20 * PATIENCE))


async def create(rollouts: Rollouts, count: int, wave: int = 3, allowed: float = 0) -> Rollout:
    nodes = [f"n{number}" for number in range(count)]
    return await rollouts.create("api", "probe", IMAGE, {"V": "2"}, plan_for(nodes, wave, allowed))


def states(rollout: Rollout, *states: RolloutNodeState) -> set[str]:
    return {node.node_id for node in rollout.plan.nodes if node.state in states}


# case S24
def test_one_broken_and_one_unreachable_node_of_twelve(tmp_path: Path) -> None:
    nodes = Nodes()
    nodes.broken, nodes.away = {"n1"}, {"n4"}

    async def first(rollouts: Rollouts) -> None:
        rollout = await create(rollouts, 12, allowed=1.2)
        await until(lambda: rollout.plan.state is RolloutState.WAITING)
        assert states(rollout, S.FAILED) == {"n1"}
        assert states(rollout, S.UNREACHABLE) == {"n4"}
        assert len(states(rollout, S.READY)) == 10
        order = nodes.orders["n0"]
        assert (order.source_id, order.source_code) == ("own", "code api-probe-v1")
        assert (order.name, order.digest, order.env) == ("probe", "sha256:1", {"V": "2"})

    async def second(rollouts: Rollouts) -> None:
        await until(lambda: rollouts.all("api"))
        (rollout,) = rollouts.all("api")
        await until(lambda: len(nodes.given) >= 2)  # it tries again and again
        assert not states(rollout, S.PENDING, S.STARTING)
        nodes.away.clear()
        await until(lambda: rollout.plan.state is RolloutState.DONE)
        assert set(nodes.given) == {"n4"}

    run(tmp_path, nodes, first)
    nodes.given.clear()
    run(tmp_path, nodes, second)


# case S24
def test_beyond_the_bound_it_stops_and_goes_on_when_asked(tmp_path: Path) -> None:
    nodes = Nodes()
    nodes.broken, nodes.refusing = {"n0"}, {"n1"}

    async def scenario(rollouts: Rollouts) -> None:
        rollout = await create(rollouts, 12, allowed=1.2)
        await until(lambda: rollout.plan.state is RolloutState.STOPPED)
        await until(lambda: "n2" in states(rollout, S.READY))  # it had begun
        assert set(nodes.given) == {"n0", "n1", "n2"}
        assert rollout.plan.find("n0").error == "cannot start api-probe: no sensor"
        assert rollout.plan.find("n1").error == "it takes no roll-outs"
        nodes.broken, nodes.refusing = set(), set()
        await rollouts.resume("api", rollout.rollout_id)
        await until(lambda: rollout.plan.state is RolloutState.DONE)
        assert len(states(rollout, S.READY)) == 12

    run(tmp_path, nodes, scenario)


def test_a_cancelled_roll_out_stays_so_after_a_restart(tmp_path: Path) -> None:
    nodes = Nodes()
    nodes.away = {"n0"}

    async def first(rollouts: Rollouts) -> None:
        rollout = await create(rollouts, 1)
        await until(lambda: states(rollout, S.UNREACHABLE))
        await rollouts.cancel("api", rollout.rollout_id)
        with pytest.raises(NotFoundError):
            await rollouts.cancel("other", rollout.rollout_id)

    async def second(rollouts: Rollouts) -> None:
        await until(lambda: rollouts.all("api"))
        assert rollouts.all("api")[0].plan.state is RolloutState.CANCELLED
        assert nodes.given == []

    run(tmp_path, nodes, first)
    nodes.given.clear()
    run(tmp_path, nodes, second)


def test_a_burst_of_roll_outs_is_bounded_and_old_ones_go_first(tmp_path: Path) -> None:
    nodes = Nodes()

    async def scenario(rollouts: Rollouts) -> None:
        for _ in range(ROLLOUTS_KEPT + 5):
            plan = (await create(rollouts, 1)).plan
            while plan.state is not RolloutState.DONE:  # noqa: ASYNC110  # a test watches
                await asyncio.sleep(0.001)
        assert len(rollouts.all("api")) == ROLLOUTS_KEPT
        nodes.away = {"n0"}
        for _ in range(ROLLOUTS_KEPT):
            await create(rollouts, 1)
        with pytest.raises(ConflictError, match="20 roll-outs are not done; cancel one"):
            await create(rollouts, 1)
        with pytest.raises(ServicesError, match="needs 1 to 1000 nodes"):
            await create(rollouts, 1001)

    run(tmp_path, nodes, scenario)


def test_a_node_without_roll_outs_makes_no_file(tmp_path: Path) -> None:
    async def scenario(rollouts: Rollouts) -> None:
        await asyncio.sleep(0.01)
        assert rollouts.all("api") == []

    run(tmp_path, Nodes(), scenario)
    assert list(tmp_path.iterdir()) == []
