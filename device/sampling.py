"""Takes readings at their times.

A slot that is missed is skipped. A function that is not async stops every other task while it
runs, so all sensors rest afterwards for as long as it took: the link and the commands have half of
the time at least. Long intervals are waited for in parts: a board's milliseconds wrap after days.
"""

import asyncio
import time

from device.calls import call
from micropython import const

_PART_MS = const(3600000)
_SLOW_MS = const(50)


def next_slot_ms(interval, late):
    """Return the pause until the next slot, `late` milliseconds after the last one was due."""
    return interval - late % interval


class Sampler:
    """Calls sensors and passes on what they return."""

    def __init__(self, put, failures, limit_ms):
        self._put = put  # (name, value, unit)
        self._failures = failures
        self._limit_ms = limit_ms
        self._rest_until = None

    async def run(self, interval, name, unit, function):
        """Take readings for ever."""
        late = 0  # milliseconds since the last slot
        while True:
            started = time.ticks_ms()
            await self._rest()
            await self._read(name, unit, function)
            late += time.ticks_diff(time.ticks_ms(), started)
            pause = next_slot_ms(interval, late)
            late = await _sleep(pause) - pause

    async def _read(self, name, unit, function):
        try:
            value = await call(self._timed, self._limit_ms, function)
            if value is not None:
                self._put(name, value, unit)
        except Exception as exc:  # one broken sensor must not stop the others
            self._failures.note(name, exc)

    def _timed(self, function):
        started = time.ticks_ms()
        try:
            return function()
        finally:
            now = time.ticks_ms()
            took = time.ticks_diff(now, started)
            if took >= _SLOW_MS:
                self._rest_until = time.ticks_add(now, min(took, _PART_MS))

    async def _rest(self):
        while self._rest_until is not None:
            left = time.ticks_diff(self._rest_until, time.ticks_ms())
            if left <= 0:
                self._rest_until = None
                return
            await asyncio.sleep_ms(left)


async def _sleep(pause):
    """Sleep; return the milliseconds that it took."""
    slept = 0
    while slept < pause:
        last = time.ticks_ms()
        await asyncio.sleep_ms(min(pause - slept, _PART_MS))
        slept += time.ticks_diff(time.ticks_ms(), last)
    return slept
