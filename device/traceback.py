"""Prints a bounded report of an exception. Loaded when there is one to print."""

import io
import sys

from device.calls import describe
from micropython import const

_TRACE_BYTES = const(600)


def print_failure(name, exc, count):
    """Print that a function or task of this name failed, so many times by now."""
    times = "" if count == 1 else ", %d times" % count
    print("device: %s failed%s: %s" % (name, times, describe(exc)))
    sys.print_exception(exc, _Start(sys.stdout.write))
    print()


def text_of_failure(exc):
    """Return the start of an exception's traceback."""
    kept = []
    sys.print_exception(exc, _Start(kept.append))
    return b"".join(kept).decode()


class _Start(io.IOBase):
    """Passes on the start of what is written; an exception's text may be larger than the heap."""

    def __init__(self, take):
        self._take = take
        self._left = _TRACE_BYTES

    def write(self, data):
        part = bytes(data[: self._left])
        self._left -= len(part)
        self._take(part)
        return len(data)
