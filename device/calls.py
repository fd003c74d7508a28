"""Calls the author's functions: a time limit for each call, and bounded reports of their errors."""

import asyncio
import io
import sys

from device.contract import text_of
from device.errors import DeviceError

_KINDS = 16
_TRACE_BYTES = 600


class Failures:
    """Counts exceptions, and prints the 1st, 10th, 100th… of a kind."""

    def __init__(self):
        self.count = 0
        self._kinds = {}

    def note(self, name, exc):
        """Note an exception of a function or task of this name."""
        self.count += 1
        kind = (name, type(exc).__name__)
        if kind not in self._kinds and len(self._kinds) >= _KINDS:
            kind = None
        count = self._kinds[kind] = self._kinds.get(kind, 0) + 1
        power = 1
        while power < count:
            power *= 10
        if power == count:
            try:
                times = "" if count == 1 else ", %d times" % count
                print("device: %s failed%s: %s" % (name, times, describe(exc)))
                sys.print_exception(exc, _Start())
                print()
            except MemoryError:
                pass


def describe(exc):
    """Return a short text about an exception."""
    text = text_of(exc, 100)
    return text if isinstance(exc, DeviceError) else "%s %s" % (type(exc).__name__, text)


class _Start(io.IOBase):
    """Prints the start of what is written; an exception's text may be larger than the heap."""

    def __init__(self):
        self._left = _TRACE_BYTES

    def write(self, data):
        part = bytes(data[: self._left])
        self._left -= len(part)
        sys.stdout.write(part)
        return len(data)


class TookTooLong(Exception):
    """A call did not end within its time limit."""


async def call(function, limit_ms, *args):
    """Return the result of a function, async or not; TookTooLong when an async one takes too long.

    The call is cancelled then, but not waited for: it may ignore that.
    """
    result = function(*args)
    if not hasattr(result, "send"):
        return result
    outcome = []
    ended = asyncio.Event()

    async def run():
        try:
            outcome.append((await result, None))
        except Exception as exc:
            outcome.append((None, exc))
        finally:
            ended.set()

    task = asyncio.create_task(run())
    try:
        await asyncio.wait_for_ms(ended.wait(), limit_ms)
    except asyncio.TimeoutError:
        raise TookTooLong("took longer than %d ms" % limit_ms)
    finally:
        if not ended.is_set():
            task.cancel()
    value, error = outcome[0]
    if error is not None:
        raise error
    return value
