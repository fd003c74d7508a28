"""Carries out the orders of roll-outs on this node: fetches the image, deploys the container.

An order is carried out in the background; the node that gave it asks for the progress. It is ready
when its version has passed the probation, so that a wave does not go on with one that crashes.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from gateway.errors import GatewayError, UplinkError
from gateway.http.replay import ReplayVerdict
from gateway.services.deployments import Deployments
from gateway.services.errors import ServicesError
from gateway.services.rollouts.orders import OrderProgress, OrderState, RolloutOrder
from gateway.services.rollouts.used_codes import UsedCodes

logger = logging.getLogger(__name__)

ORDERS_KEPT = 64
LOOK_S = 0.1  # between two looks at a version on probation
PROBATION_EXTRA_S = 60.0  # for a first version, which may restart, to pass its probation
_ENDS = (OrderState.READY, OrderState.FAILED, OrderState.LOST)

# client id, node id, image id, code, digest
PullImage = Callable[[str, str, str, str, str], Awaitable[object]]


class RolloutReceiver:
    """The orders that this node carries out, and the last ones that it has carried out."""

    def __init__(
        self,
        node_id: str,
        deployments: Deployments,
        pull: PullImage,
        codes: UsedCodes,
        probation_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._node_id, self._deployments, self._pull = node_id, deployments, pull
        self._codes = codes
        self._probation_s, self._clock = probation_s, clock
        self._orders: OrderedDict[str, tuple[RolloutOrder, OrderProgress]] = OrderedDict()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def take(self, order: RolloutOrder, code: str = "") -> OrderProgress:
        """Begin with an order, unless it is being carried out already; return its progress.

        Args:
            order: the order.
            code: with which another node gives it; it begins one run. "" is for this node's own.
        """
        rollout_id = order.rollout_id
        why = await self._check(code) if code else ""
        known = self.show(rollout_id)
        if why:
            return known or OrderProgress(OrderState.LOST, f"cannot take order: {why}")
        if known is None or known.state in _ENDS or rollout_id not in self._tasks:
            self._note(order, OrderProgress(OrderState.TRANSFERRING))
            carrying = self._carry_out(order, from_other=bool(code))
            task = asyncio.create_task(carrying, name=f"roll-out {rollout_id}")
            self._tasks[rollout_id] = task
            task.add_done_callback(lambda done: self._release(rollout_id, done))
        return self._orders[rollout_id][1]

    async def _check(self, code: str) -> str:
        """Return why a code begins no run; "" when it does."""
        try:
            verdict = await self._codes.use(code)
        except GatewayError as exc:
            return str(exc)
        return "" if verdict is ReplayVerdict.ADMITTED else str(verdict)

    def show(self, rollout_id: str) -> OrderProgress | None:
        """Return the progress of an order; None when it is not known (any more)."""
        known = self._orders.get(rollout_id)
        return known[1] if known else None

    async def stop(self) -> None:
        """End the work; the node that gave an order gives it again."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _release(self, rollout_id: str, done: asyncio.Task[None]) -> None:
        if self._tasks.get(rollout_id) is done:  # not that of the same order, given again
            del self._tasks[rollout_id]

    def _note(self, order: RolloutOrder, progress: OrderProgress) -> None:
        self._orders[order.rollout_id] = order, progress
        self._orders.move_to_end(order.rollout_id)
        while len(self._orders) > ORDERS_KEPT:
            self._orders.popitem(last=False)

    async def _carry_out(self, order: RolloutOrder, *, from_other: bool) -> None:
        try:
            await self._fetch(order)
            if from_other:
                self._deployments.check_ordered(order.client_id, order.image_id)
            self._note(order, OrderProgress(OrderState.STARTING))
            name = order.image_id.removeprefix(f"{order.client_id}-")
            deployed = await self._deployments.put_container(
                order.client_id, order.name, name, order.env, self._clock()
            )
            await self._pass_probation(deployed.stored.container_id)
        except ServicesError as exc:
            self._note(order, OrderProgress(OrderState.FAILED, str(exc)))
        except UplinkError as exc:
            self._note(order, OrderProgress(OrderState.LOST, str(exc)))
        except Exception:
            logger.exception("a fault in the roll-out of %s", order.name)
            self._note(order, OrderProgress(OrderState.FAILED, "fault in the node"))
        else:
            self._note(order, OrderProgress(OrderState.READY))

    async def _fetch(self, order: RolloutOrder) -> None:
        there = {
            image.image_id: image.digest for image in self._deployments.images(order.client_id)
        }
        if there.get(order.image_id) == order.digest or order.source_id == self._node_id:
            return
        await self._pull(
            order.client_id, order.source_id, order.image_id, order.source_code, order.digest
        )

    async def _pass_probation(self, container_id: str) -> None:
        """Return when the version that runs is good; ServicesError when it is left."""
        deployed = self._deployments.table.get(container_id)
        running = deployed.history.running if deployed else None
        if running is None:
            raise ServicesError(f"cannot deploy {container_id}: it does not run")
        limit_s = self._probation_s + PROBATION_EXTRA_S
        try:
            async with asyncio.timeout(limit_s):
                while True:
                    now = self._deployments.table.get(container_id)
                    if now is None:
                        raise ServicesError(f"cannot deploy {container_id}: it was deleted")
                    version = now.history.find(running.number)
                    if version is not None and version.good:
                        return
                    if now.history.running is None or now.history.running.number != running.number:
                        why = now.history.note or "another version was deployed"
                        raise ServicesError(f"cannot deploy {container_id}: {why}")
                    await asyncio.sleep(LOOK_S)
        except TimeoutError as exc:
            why = deployed.supervisor.error if deployed else ""
            raise ServicesError(
                f"cannot deploy {container_id}: it did not stay up within {limit_s:g} s: {why}"
            ) from exc
