"""Runs coroutines in a time that passes only when everybody waits for it."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.SelectSelector):
    """Waits no time, and tells how long it was asked to wait."""

    asked_s: float | None = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.asked_s = timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer when nothing else is to be done."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        self._now = 1000.0
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        super()._run_once()  # type: ignore[misc]  # the loop of asyncio, one round
        asked_s = self._virtual.asked_s
        if asked_s is None:
            raise AssertionError("everybody waits, and nothing will happen")
        self._now += max(asked_s, 0.0)


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns; hours of it take no time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def virtual_now() -> float:
    """Return the time of the loop that runs."""
    return asyncio.get_running_loop().time()
