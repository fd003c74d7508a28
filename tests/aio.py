"""Waits on an event loop for conditions that have no event of their own."""

import asyncio
import time
from collections.abc import Callable

from tests.programs import FIRST_LOOK_S, LAST_LOOK_S, PATIENCE


async def until(condition: Callable[[], object], what: str = "", timeout_s: float = 10) -> None:
    """Return when the condition is true; fail when it is not in time."""
    deadline = time.monotonic() + timeout_s * PATIENCE
    pause_s = 0.0
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s in vain: {what or condition}"
        await asyncio.sleep(pause_s)
        pause_s = min(max(2 * pause_s, FIRST_LOOK_S), LAST_LOOK_S)
