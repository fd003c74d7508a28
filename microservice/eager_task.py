"""Starts a task whose first step runs at once, and not in the next iteration of the loop.

Theory of operation
-------------------
An iteration of the loop costs an epoll_wait() and, in a process that was idle, cold memory. The
task exists before the step, so current_task(), timeouts and context variables are in it what they
are in every other step. The step's outcome (what it awaits, its result or its error) is kept until
the loop calls the task for the first time, which takes it as if the step ran then. A cancellation
before that reaches the coroutine where it waits.

Python 3.12 has eager tasks; this needs what its documentation offers to other implementations of
tasks since 3.7 (Extending asyncio).
"""

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from types import TracebackType
from typing import Any


def start_task(coroutine: Coroutine[Any, Any, None], context: Context) -> asyncio.Task[None]:
    """Return a task that has taken its first step; a call from another task cannot take it."""
    loop = asyncio.get_running_loop()
    if asyncio.current_task(loop) is not None:
        return loop.create_task(coroutine, context=context)
    begun = _BegunCoroutine(coroutine)
    task = loop.create_task(begun, context=context)
    asyncio._enter_task(loop, task)  # noqa: SLF001  # documented, see above
    try:
        context.run(begun.begin)
    finally:
        asyncio._leave_task(loop, task)  # noqa: SLF001
    return task


class _BegunCoroutine(Coroutine[Any, Any, None]):
    """A coroutine that has run to its first await."""

    __slots__ = ("_awaited", "_coroutine", "_ended", "_is_new")

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._coroutine = coroutine
        self._awaited: Any = None
        self._ended: BaseException | None = None  # or StopIteration
        self._is_new = True  # its task has not been called yet

    def begin(self) -> None:
        """Run the first step; keep its outcome."""
        try:
            self._awaited = self._coroutine.send(None)
        except BaseException as exc:  # noqa: BLE001  # its task raises it
            self._ended = exc

    def send(self, value: Any) -> Any:
        """Return what the first step awaits; then take further steps."""
        if not self._is_new:
            return self._coroutine.send(value)
        self._is_new = False
        if self._ended is not None:
            raise self._ended
        awaited, self._awaited = self._awaited, None
        return awaited

    def throw(
        self,
        kind: Any,
        value: BaseException | object = None,
        traceback: TracebackType | None = None,  # noqa: ARG002  # of an old form of the call
    ) -> Any:
        """Raise an error where the coroutine waits; it comes too late for one that has ended."""
        self._is_new, self._awaited = False, None
        if self._ended is not None:
            raise self._ended
        return self._coroutine.throw(kind if value is None else value)  # type: ignore[arg-type]

    def close(self) -> None:
        """End the coroutine."""
        self._coroutine.close()

    def __await__(self) -> Any:
        raise TypeError("a task runs it")
