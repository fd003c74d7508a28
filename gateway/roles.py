"""Starts and stops the parts of a gateway that depend on its role in the cluster.

The link to the cloud runs once a node has a role: each node keeps its own, also as a member. Other
parts run in every role, and gateway/lifecycle.py owns them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from gateway.cluster.election.heartbeat import Role

logger = logging.getLogger(__name__)

RESTART_S = 5.0  # after a fault in a part


@dataclass(frozen=True, slots=True)
class RolePart:
    """A part that runs in some roles only."""

    name: str
    roles: frozenset[Role]
    run: Callable[[], Awaitable[None]]  # until cancelled; may run again afterwards


class RoleController:
    """Runs the parts of the present role; no part of an old role runs beside one of the new.

    Args:
        parts: all parts of all roles.
        next_role: waits until the role differs from the one that it is given, and returns it.
    """

    def __init__(
        self, parts: Sequence[RolePart], next_role: Callable[[Role], Awaitable[Role]]
    ) -> None:
        self._parts, self._next_role = parts, next_role
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def running(self) -> frozenset[str]:
        """The names of the parts that run."""
        return frozenset(self._tasks)

    async def run(self) -> None:
        """Follow the role until cancelled, then stop all parts."""
        role = Role.LISTENING
        try:
            while True:
                await self._enter(role)
                role = await self._next_role(role)
        finally:
            await self._stop(list(self._tasks))

    async def _enter(self, role: Role) -> None:
        wanted = [part for part in self._parts if role in part.roles]
        names = {part.name for part in wanted}
        await self._stop([name for name in self._tasks if name not in names])
        for part in wanted:
            if part.name not in self._tasks:
                logger.debug("starting %s: this node is %s", part.name, role)
                task = asyncio.create_task(keep_running(part.name, part.run), name=part.name)
                self._tasks[part.name] = task

    async def _stop(self, names: Iterable[str]) -> None:
        tasks = [self._tasks.pop(name) for name in names]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def keep_running(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run a part until cancelled; a fault in it does not end the gateway."""
    while True:
        try:
            await run()
        except Exception:
            logger.exception("%s failed; it starts again in %.0f s", name, RESTART_S)
        await asyncio.sleep(RESTART_S)
