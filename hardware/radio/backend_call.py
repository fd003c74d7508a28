"""Calls a Bluetooth backend within a time limit, whatever it does.

A backend is a library above D-Bus above a daemon above a driver. Calls hang, ignore that they are
cancelled, and raise whatever one of the four came across: not only BleakError, but also OSError,
EOFError, KeyError and AssertionError. So each call runs in a task of its own; a call that does not
end in time is cancelled and left alone.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from hardware.radio.errors import RadioError

T = TypeVar("T")

END_S = 1.0  # for a call to end that was cancelled
ABANDONED_LIMIT = 64


class BackendCalls:
    """Makes calls, and counts those that never ended."""

    def __init__(self, end_s: float = END_S) -> None:
        self._end_s = end_s
        self._abandoned: set[asyncio.Task[Any]] = set()
        self.abandoned = 0  # so far

    async def run(self, what: str, call: Coroutine[Any, Any, T], limit_s: float) -> T:
        """Return what a call returns.

        Raises:
            RadioError: "cannot WHAT: why"; its cause is what the backend raised.
        """
        if len(self._abandoned) >= ABANDONED_LIMIT:
            call.close()
            raise RadioError(f"cannot {what}: {ABANDONED_LIMIT} earlier calls have not ended")
        task = asyncio.ensure_future(call)
        try:
            await asyncio.wait({task}, timeout=limit_s)
        except asyncio.CancelledError:
            await self._end(task)
            raise
        if not task.done():
            await self._end(task)
            raise RadioError(f"cannot {what}: no answer within {limit_s:g} s")
        if task.cancelled():
            raise RadioError(f"cannot {what}: the backend gave up")
        fault = task.exception()
        if fault is None:
            return task.result()
        if isinstance(fault, Exception):
            raise RadioError(f"cannot {what}: {describe_fault(fault)}") from fault
        raise fault

    async def _end(self, task: asyncio.Task[Any]) -> None:
        """Cancel a call; one that does not end is left alone and counted."""
        task.cancel()
        try:
            await asyncio.wait({task}, timeout=self._end_s)
        finally:
            if not task.done():
                self.abandoned += 1
                self._abandoned.add(task)
            task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled():
            task.exception()  # so that asyncio does not log it


def describe_fault(fault: BaseException) -> str:
    """Return what went wrong in one line."""
    text = " ".join(str(fault).split())[:200]
    return text or type(fault).__name__
