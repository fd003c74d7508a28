"""Coordinates roll-outs from this node: gives orders by the plan, and stores each step."""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.errors import GatewayError
from gateway.services.errors import ConflictError, NotFoundError, ServicesError, StorageError
from gateway.services.rollouts.orders import OrderState, RolloutOrder
from gateway.services.rollouts.peers import OrderSink, PeerLostError, PeerRefusedError
from gateway.services.rollouts.plan import (
    ACTIVE,
    NodeProgress,
    RolloutNodeState,
    RolloutPlan,
    RolloutState,
)
from gateway.services.rollouts.store import Rollout, RolloutStore

logger = logging.getLogger(__name__)

POLL_S = 0.5  # between two questions for the progress of a node
NODE_LIMIT_S = 900.0  # for one node: a large image over a slow link
ROLLOUTS_KEPT = 20
NODES_LIMIT = 1000

SourceCode = Callable[[str], str]  # image id -> the code with which nodes fetch it here


@dataclass(slots=True)
class _Running:
    """A roll-out with its tasks."""

    rollout: Rollout
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    nodes: dict[str, asyncio.Task[None]] = field(default_factory=dict)


class Rollouts:
    """All roll-outs that this node coordinates."""

    def __init__(
        self,
        node_id: str,
        store: RolloutStore,
        sink: OrderSink,
        source_code: SourceCode,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._node_id, self._store, self._sink = node_id, store, sink
        self._source_code, self._clock = source_code, clock
        self._all: dict[str, _Running] = {}
        self._creating: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Go on with the roll-outs of earlier runs; return when cancelled."""
        for rollout in await self._store.load():
            rollout.plan.interrupt(self._clock())
            self._go_on(rollout)
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """End all work, and store how far it came; run() goes on with it at the next start."""
        await asyncio.gather(*self._creating, return_exceptions=True)
        active = [one for one in self._all.values() if one.task and not one.task.done()]
        tasks = [t for one in self._all.values() for t in (one.task, *one.nodes.values()) if t]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for one in active:
            await self._try_to_save(one.rollout)
        await self._store.close()

    async def create(
        self,
        client_id: str,
        name: str,
        image: tuple[str, str],
        env: Mapping[str, str],
        plan: RolloutPlan,
    ) -> Rollout:
        """Begin to roll out a container; image is its id and its digest.

        It begins also when the caller is cancelled meanwhile: it may be stored already.

        Raises:
            ConflictError: there are too many roll-outs.
            StorageError: it cannot be stored.
        """
        if not 0 < len(plan.nodes) <= NODES_LIMIT:
            raise ServicesError(f"cannot roll out {name}: needs 1 to {NODES_LIMIT} nodes")
        await self._make_room(name)
        rollout = Rollout(
            secrets.token_hex(12), client_id, name, *image, self._clock(), plan, dict(env)
        )
        task = asyncio.create_task(self._begin(rollout), name=f"roll-out {rollout.rollout_id}")
        self._creating.add(task)
        task.add_done_callback(self._release)
        await asyncio.shield(task)
        return rollout

    def all(self, client_id: str) -> list[Rollout]:
        """Return the roll-outs of a client, the oldest first."""
        return [o.rollout for o in self._all.values() if o.rollout.client_id == client_id]

    def known(self, client_id: str, rollout_id: str) -> Rollout:
        """Return a roll-out of a client; NotFoundError when there is none."""
        found = self._all.get(rollout_id)
        if found is None or found.rollout.client_id != client_id:
            raise NotFoundError(f"cannot find roll-out {rollout_id:.40}")
        return found.rollout

    async def cancel(self, client_id: str, rollout_id: str) -> Rollout:
        """Begin with no further node; what has begun goes on at its node.

        Raises:
            StorageError: it is cancelled, until a restart of this node.
        """
        rollout = self.known(client_id, rollout_id)
        rollout.plan.cancel()
        self._all[rollout_id].wake.set()  # before anything that fails or is cancelled
        await self._save(rollout)
        return rollout

    async def resume(self, client_id: str, rollout_id: str) -> Rollout:
        """Go on after a stop; nodes that failed are tried again.

        Raises:
            StorageError: it goes on, until a restart of this node.
        """
        rollout = self.known(client_id, rollout_id)
        rollout.plan.resume(self._clock())
        self._go_on(rollout)  # before anything that fails or is cancelled
        await self._save(rollout)
        return rollout

    async def _make_room(self, name: str) -> None:
        while (count := len(self._all) + len(self._creating)) >= ROLLOUTS_KEPT:
            # one whose task is at work would store itself again
            old = next((i for i, o in self._all.items() if o.task is None or o.task.done()), None)
            if old is None:
                raise ConflictError(
                    f"cannot roll out {name}: {count} roll-outs are not done; cancel one"
                )
            del self._all[old]
            with _errors():
                await self._store.drop(old)

    async def _begin(self, rollout: Rollout) -> None:
        await self._save(rollout)
        self._go_on(rollout)

    def _release(self, task: asyncio.Task[None]) -> None:
        self._creating.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may be gone

    async def _save(self, rollout: Rollout) -> None:
        with _errors():
            await self._store.put(rollout)

    async def _try_to_save(self, rollout: Rollout) -> None:
        try:
            await self._save(rollout)
        except StorageError as exc:
            logger.warning("roll-out of %s: %s", rollout.name, exc)

    def _go_on(self, rollout: Rollout) -> None:
        running = self._all.setdefault(rollout.rollout_id, _Running(rollout))
        running.wake.set()
        if running.task is None or running.task.done():
            running.task = asyncio.create_task(
                self._follow(running), name=f"roll-out {rollout.rollout_id}"
            )

    async def _follow(self, running: _Running) -> None:
        """Begin with nodes as the plan allows, until nothing is left to do or wait for."""
        rollout = running.rollout
        plan = rollout.plan
        while True:
            running.wake.clear()
            for node_id in plan.take_starts(self._clock()):
                task = asyncio.create_task(self._deploy(running, node_id))
                running.nodes[node_id] = task
            await self._try_to_save(rollout)
            if running.wake.is_set():  # the plan has changed since: that is to be stored, too
                continue
            active = any(node.state in ACTIVE for node in plan.nodes)
            if not active and plan.state not in (RolloutState.RUNNING, RolloutState.WAITING):
                logger.info("roll-out of %s is %s", rollout.name, plan.state)
                return
            due = plan.deadline
            wait_s = None if due is None else max(0.0, due - self._clock())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await running.wake.wait()

    async def _deploy(self, running: _Running, node_id: str) -> None:
        """Let one node run the container; note in the plan how it ends."""
        rollout, plan = running.rollout, running.rollout.plan
        limit = asyncio.timeout(NODE_LIMIT_S)
        try:
            async with limit:
                await self._follow_node(running, node_id)
        except PeerLostError as exc:
            plan.lost(node_id, str(exc), self._clock())
        except PeerRefusedError as exc:
            plan.failed(node_id, str(exc), self._clock())
        except TimeoutError:
            if limit.expired():
                plan.failed(node_id, f"no end within {NODE_LIMIT_S:g} s", self._clock())
            else:
                plan.lost(node_id, "no answer in time", self._clock())
        except Exception:  # else the node would be at work for ever, and the roll-out with it
            logger.exception("a fault in the roll-out of %s to %.12s", rollout.name, node_id)
            plan.failed(node_id, "fault in the coordinating node", self._clock())
        finally:
            running.nodes.pop(node_id, None)
            running.wake.set()
        state = plan.find(node_id).state
        logger.info("roll-out of %s: node %.12s is %s", rollout.name, node_id, state)

    async def _follow_node(self, running: _Running, node_id: str) -> None:
        rollout, plan = running.rollout, running.rollout.plan
        progress = await self._sink.give(node_id, self._order(rollout))
        while True:
            match progress.state:
                case OrderState.STARTING:
                    if plan.find(node_id).state is RolloutNodeState.TRANSFERRING:
                        plan.transferred(node_id, self._clock())
                        running.wake.set()
                case OrderState.READY:
                    plan.ready(node_id, self._clock())
                    return
                case OrderState.FAILED:
                    raise PeerRefusedError(progress.error)
                case OrderState.LOST:
                    raise PeerLostError(progress.error)
            await asyncio.sleep(POLL_S)
            known = await self._sink.ask(node_id, rollout.rollout_id)
            if known is None:
                raise PeerLostError("it was restarted")
            progress = known

    def _order(self, rollout: Rollout) -> RolloutOrder:
        return RolloutOrder(
            rollout.rollout_id, rollout.client_id, rollout.name, rollout.image_id, rollout.digest,
            self._node_id, self._source_code(rollout.image_id), rollout.env,
            secrets.token_hex(8),
        )  # fmt: skip


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except GatewayError as exc:
        raise StorageError(str(exc)) from exc


def plan_for(nodes: Sequence[str], wave: float, failures_allowed: float) -> RolloutPlan:
    """Return the plan of a new roll-out."""
    return RolloutPlan([NodeProgress(node) for node in nodes], int(wave), failures_allowed)
