"""Waits on an event loop for conditions that have no event of their own."""

import asyncio
import time
from collections.abc import Callable

from tests.programs import FIRST_LOOK_S, LAST_LOOK_S, PATIENCE


async def until(condition: Callable[[], object], what: str = "", timeout_s: float = 10) -> None:
    """Return when the condition is true; fail when it is not in time.

    A condition whose assertion fails is not true yet; the last failure is shown as the cause.
    """
    deadline = time.monotonic() + timeout_s * PATIENCE
    pause_s = 0.0
    while True:
        failure: AssertionError | None = None
        try:
            if condition():
                return
        except AssertionError as exc:
            failure = exc
        if time.monotonic() > deadline:
            why = f"waited {timeout_s:g} s in vain: {what or condition}"
            raise AssertionError(why) from failure
        await asyncio.sleep(pause_s)
        pause_s = min(max(2 * pause_s, FIRST_LOOK_S), LAST_LOOK_S)
