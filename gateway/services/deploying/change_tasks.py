"""Runs changes of containers as tasks of their own, which go on when their callers hang up."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class ChangeTasks:
    """The changes that are under way.

    A change begins after open(): while containers are still read from disk, it would make one
    anew that is there.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._opened = asyncio.Event()

    def open(self) -> None:
        """Let changes begin."""
        self._opened.set()

    async def run(self, change: Coroutine[Any, Any, T]) -> T:
        """Return the result of a change, which is not cancelled with its caller."""

        async def make() -> T:
            await self._opened.wait()
            return await change

        task = self.start(make())
        task.add_done_callback(lambda _: change.close())  # it may have never begun
        return await asyncio.shield(task)

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run work that nobody waits for."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._release)
        return task

    async def close(self) -> None:
        """Return when all have ended; those that wait for open() never begin."""
        if not self._opened.is_set():
            for task in self._tasks:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _release(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may be gone
