"""Roll-outs from one node: orders by the plan, steps on disk, nodes that come back."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.errors import GatewayError
from gateway.services.errors import ConflictError, NotFoundError, ServicesError, StorageError
from gateway.services.rollouts import coordinator
from gateway.services.rollouts import plan as plans
from gateway.services.rollouts.coordinator import ROLLOUTS_KEPT, Rollouts, plan_for
from gateway.services.rollouts.orders import OrderProgress, OrderState, RolloutOrder
from gateway.services.rollouts.peers import PeerLostError, PeerRefusedError
from gateway.services.rollouts.plan import RETRIES_AT_ONCE, RolloutNodeState, RolloutState
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
        self.slow: set[str] = set()
        self.hanging = False  # nobody answers, or refuses to
        self.given: list[str] = []
        self.orders: dict[str, RolloutOrder] = {}

    async def give(self, node_id: str, order: RolloutOrder) -> OrderProgress:
        self.given.append(node_id)
        if self.hanging:
            await asyncio.Event().wait()
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
        if node_id in self.slow:
            return OrderProgress(OrderState.TRANSFERRING)
        return OrderProgress(OrderState.READY)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator, "POLL_S", 0.001)
    monkeypatch.setattr(plans, "FIRST_RETRY_S", 0.02)
    monkeypatch.setattr(plans, "LONGEST_RETRY_S", 0.05)


def run(
    folder: Path,
    nodes: Nodes,
    scenario: Callable[[Rollouts], Awaitable[None]],
    store: RolloutStore | None = None,
) -> None:
    async def whole() -> None:
        kept = store or RolloutStore(folder)
        rollouts = Rollouts("own", kept, nodes, lambda image_id: f"code {image_id}")
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


def is_over(rollout: Rollout) -> bool:
    """Return whether no task works at a roll-out any more."""
    name = f"roll-out {rollout.rollout_id}"
    return all(task.get_name() != name for task in asyncio.all_tasks())


def stored(folder: Path) -> list[Rollout]:
    """Return the roll-outs on the disk."""

    async def load() -> list[Rollout]:
        store = RolloutStore(folder)
        try:
            return await store.load()
        finally:
            await store.close()

    return asyncio.run(load())


class WatchedStore(RolloutStore):
    """Counts what it stores, and refuses it while the disk is full."""

    puts = 0
    is_full = False

    async def put(self, rollout: Rollout) -> None:
        self.puts += 1
        if self.is_full:
            raise GatewayError("cannot write rollouts.db: disk full")
        await super().put(rollout)


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


def test_each_order_that_is_given_is_another_one(tmp_path: Path) -> None:
    nodes = Nodes()
    nodes.broken = {"n0"}

    async def scenario(rollouts: Rollouts) -> None:
        rollout = await create(rollouts, 1)
        await until(lambda: rollout.plan.state is RolloutState.STOPPED)
        first = nodes.orders["n0"]
        nodes.broken = set()
        await rollouts.resume("api", rollout.rollout_id)
        await until(lambda: rollout.plan.state is RolloutState.DONE)
        assert first.attempt != nodes.orders["n0"].attempt != ""
        assert replace(first, attempt="") == replace(nodes.orders["n0"], attempt="")

    run(tmp_path, nodes, scenario)


def test_a_roll_out_goes_on_though_its_caller_hangs_up_or_the_disk_is_full(tmp_path: Path) -> None:
    nodes, store = Nodes(), WatchedStore(tmp_path)
    nodes.refusing = {"n0"}

    async def scenario(rollouts: Rollouts) -> None:
        rollout = await create(rollouts, 2, wave=1)
        await until(lambda: rollout.plan.state is RolloutState.STOPPED)
        resuming = asyncio.create_task(rollouts.resume("api", rollout.rollout_id))
        await asyncio.sleep(0)  # it is storing
        resuming.cancel()
        await until(lambda: len(nodes.given) == 2)  # tried again, and it has failed again
        await until(lambda: rollout.plan.state is RolloutState.STOPPED)
        nodes.refusing = set()
        store.is_full = True
        with pytest.raises(StorageError, match="cannot write"):
            await rollouts.resume("api", rollout.rollout_id)
        await until(lambda: rollout.plan.state is RolloutState.DONE)

    run(tmp_path, nodes, scenario, store)


def test_a_cancellation_is_kept_though_its_caller_hangs_up(tmp_path: Path) -> None:
    nodes = Nodes()
    nodes.away = {"n0"}

    async def scenario(rollouts: Rollouts) -> None:
        rollout = await create(rollouts, 1)
        await until(lambda: states(rollout, S.UNREACHABLE))
        cancelling = asyncio.create_task(rollouts.cancel("api", rollout.rollout_id))
        await asyncio.sleep(0)
        cancelling.cancel()
        await until(lambda: is_over(rollout))

    run(tmp_path, nodes, scenario)
    assert stored(tmp_path)[0].plan.state is RolloutState.CANCELLED


def test_a_creation_goes_on_though_its_caller_hangs_up(tmp_path: Path) -> None:
    async def scenario(rollouts: Rollouts) -> None:
        creating = asyncio.create_task(create(rollouts, 1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        creating.cancel()
        await until(lambda: rollouts.all("api"))
        (rollout,) = rollouts.all("api")
        await until(lambda: rollout.plan.state is RolloutState.DONE)

    run(tmp_path, Nodes(), scenario)


def test_two_roll_outs_that_come_at_once_to_a_new_node(tmp_path: Path) -> None:
    async def scenario(rollouts: Rollouts) -> None:
        one, two = (
            rollouts.create("api", node, IMAGE, {}, plan_for([node], 1, 0)) for node in ("n0", "n1")
        )
        both = await asyncio.gather(one, two)
        await until(lambda: {each.plan.state for each in both} == {RolloutState.DONE})

    run(tmp_path, Nodes(), scenario)
    assert len(stored(tmp_path)) == 2


@pytest.mark.parametrize(
    ("fault", "state"),
    [(RuntimeError("a fault"), RolloutState.STOPPED), (TimeoutError(), RolloutState.WAITING)],
)
def test_a_fault_at_one_node_does_not_hold_up_the_others(
    tmp_path: Path, fault: Exception, state: RolloutState
) -> None:
    class Faulty(Nodes):
        async def give(self, node_id: str, order: RolloutOrder) -> OrderProgress:
            if node_id == "n0" and "n0" not in self.given:
                self.given.append(node_id)
                raise fault
            return await super().give(node_id, order)

    nodes = Faulty()

    async def scenario(rollouts: Rollouts) -> None:
        rollout = await create(rollouts, 2)
        await until(lambda: "n0" in nodes.given and "n1" in states(rollout, S.READY))
        if state is RolloutState.STOPPED:
            await until(lambda: rollout.plan.state is state)
            assert rollout.plan.find("n0").error == "fault in the coordinating node"
            await rollouts.resume("api", rollout.rollout_id)
        await until(lambda: rollout.plan.state is RolloutState.DONE)  # the other is tried again

    run(tmp_path, nodes, scenario)


def test_a_restart_just_after_it_was_asked_to_go_on(tmp_path: Path) -> None:
    nodes = Nodes()
    nodes.refusing = {"n0"}

    async def first(rollouts: Rollouts) -> None:
        rollout = await create(rollouts, 3, wave=1)
        await until(lambda: rollout.plan.state is RolloutState.STOPPED)
        nodes.refusing = set()
        await rollouts.resume("api", rollout.rollout_id)

    async def second(rollouts: Rollouts) -> None:
        await until(lambda: rollouts.all("api"))
        (rollout,) = rollouts.all("api")
        await until(lambda: rollout.plan.state is RolloutState.DONE)

    run(tmp_path, nodes, first)
    run(tmp_path, nodes, second)


def test_a_cancelled_roll_out_whose_node_is_at_work_is_not_forgotten(tmp_path: Path) -> None:
    nodes = Nodes()
    nodes.slow = {"n0"}

    async def scenario(rollouts: Rollouts) -> None:
        rollout = await create(rollouts, 1)
        await until(lambda: states(rollout, S.TRANSFERRING))
        await rollouts.cancel("api", rollout.rollout_id)
        for number in range(ROLLOUTS_KEPT):
            other = await rollouts.create("api", f"c{number}", IMAGE, {}, plan_for(["n1"], 1, 0))
            await until(lambda: is_over(other))  # noqa: B023  # awaited
        nodes.slow = set()
        await until(lambda: is_over(rollout))
        assert rollouts.known("api", rollout.rollout_id) is rollout

    run(tmp_path, nodes, scenario)
    assert len(stored(tmp_path)) == ROLLOUTS_KEPT


def test_many_unreachable_nodes_do_not_keep_the_disk_busy(tmp_path: Path) -> None:
    nodes, store = Nodes(), WatchedStore(tmp_path)
    nodes.away = {f"n{number}" for number in range(8)}

    async def scenario(rollouts: Rollouts) -> None:
        rollout = await create(rollouts, 8, wave=8)
        await until(lambda: len(states(rollout, S.UNREACHABLE)) == 8)
        nodes.hanging = True
        await until(lambda: len(states(rollout, S.TRANSFERRING)) == RETRIES_AT_ONCE)
        before = store.puts
        await asyncio.sleep(0.1)
        assert store.puts - before <= 2

    run(tmp_path, nodes, scenario, store)


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
