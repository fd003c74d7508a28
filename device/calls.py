"""Calls the author's functions: a time limit for each call, and bounded reports of their errors."""

import asyncio

from device.errors import DeviceError
from device.flash import load
from micropython import const

_KINDS = const(16)
_PASSING = (Exception, SystemExit, KeyboardInterrupt)  # others would end our task without a word


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
        while count % 10 == 0:
            count //= 10
        if count == 1:
            try:
                load("traceback").print_failure(name, exc, self._kinds[kind])
            except Exception:  # no memory, or its own __str__() fails
                pass


def describe(exc):
    """Return a short text about an exception."""
    text = text_of(exc, 100)
    return text if isinstance(exc, DeviceError) else "%s %s" % (type(exc).__name__, text)


def text_of(exc, limit):
    """Return the start of an exception's text, without a copy of it all."""
    only = exc.args[0] if len(exc.args) == 1 else None
    return (only if isinstance(only, str) else str(exc))[:limit]


class TookTooLong(Exception):
    """A call did not end within its time limit."""


async def call(function, limit_ms, *args):
    """Return the result of a function, async or not; TookTooLong when an async one takes too long.

    The call is cancelled then, but not waited for: it may ignore that. A CancelledError that the
    function raises itself becomes an Exception; the exceptions that end a program pass.
    """
    try:
        result = function(*args)
    except _PASSING:
        raise
    except BaseException as exc:
        raise _escaped(exc)
    if not hasattr(result, "send"):
        return result
    outcome = []
    ended = asyncio.Event()
    task = asyncio.create_task(_finish(result, outcome, ended))
    try:
        await asyncio.wait_for_ms(ended.wait(), limit_ms)
    except asyncio.TimeoutError:
        raise TookTooLong("took longer than %d ms" % limit_ms)
    finally:
        if not ended.is_set():
            task.cancel()
    value, error = outcome
    if error is not None:
        raise error
    return value


async def _finish(call, outcome, ended):
    try:
        outcome += (await call, None)
    except Exception as exc:
        outcome += (None, exc)
    except _PASSING:
        raise
    except BaseException as exc:
        outcome += (None, _escaped(exc))
    finally:
        ended.set()


def _escaped(exc):
    return RuntimeError("it raised %s" % type(exc).__name__)
