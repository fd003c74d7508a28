"""Lets a task go on within the call that brings what it waits for.

Fast path. Scenario: message_latency, a fifth less at QoS 1 (python -m benchmarks.services). Equated
with tasks that the loop starts by tests/properties/microservice/test_dispatch.py.

A future of asyncio resumes its task in the next turn of the loop, and a new task begins there.
Where a socket's protocol has a message for a task, this costs a turn of the loop for each message.
asyncio lets a task wait for objects other than its own futures: for any that has
``_asyncio_future_blocking``, ``get_loop()``, ``add_done_callback()``, ``cancel()`` and
``result()``. It gives them the function that resumes the task; this object calls it at once.
"""

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class DirectWakeup(Generic[T]):
    """Gives values to the one task that waits for them, one after the other."""

    _asyncio_future_blocking = False

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._resume: Callable[[Any], None] | None = None  # while the task waits
        self._context: Context | None = None
        self._value: T | None = None
        self._is_cancelled = False

    def wake(self, value: T) -> None:
        """Run the task with a value until it waits again; no task may be running."""
        resume, context = self._resume, self._context
        assert resume is not None and context is not None  # the caller looked  # noqa: PT018
        self._resume, self._context, self._value = None, None, value
        context.run(resume, self)

    def __await__(self) -> Generator[Any, None, T]:
        self._asyncio_future_blocking = True
        yield self
        value, self._value = self._value, None
        return value  # type: ignore[return-value]  # wake() has set it

    # Called by the task ------------------------------------------------------------------------

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop of the task."""
        return self._loop

    def add_done_callback(self, resume: Callable[[Any], None], *, context: Context) -> None:
        """Take the function that resumes the task, and its context."""
        self._resume, self._context = resume, context

    def cancel(self, msg: object = None) -> bool:  # noqa: ARG002  # asyncio's
        """Let the task go on with CancelledError, in the next turn of the loop."""
        if self._resume is None:
            return False
        self._is_cancelled = True
        self._loop.call_soon(self._resume, self, context=self._context)
        self._resume = self._context = None
        return True

    def result(self) -> None:
        """Raise CancelledError if the task was cancelled."""
        if self._is_cancelled:
            self._is_cancelled = False
            raise asyncio.CancelledError
