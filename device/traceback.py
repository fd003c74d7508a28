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
    sys.print_exception(exc, _Start())
    print()


class _Start(io.IOBase):
    """Prints the start of what is written; an exception's text may be larger than the heap."""

    def __init__(self):
        self._left = _TRACE_BYTES

    def write(self, data):
        part = bytes(data[: self._left])
        self._left -= len(part)
        sys.stdout.write(part)
        return len(data)
