"""Counts the starts of the program, and those that followed a crash. Loaded at the start.

A crash is a reset that neither power nor a person nor a command caused: by the watchdog, or by
run() after an error that does not pass. The file holds "starts crashes-in-a-row", and is written
once at a start, and once more when a program that had crashed ran for a minute.
"""

from device.flash import load, read_text, write_atomic
from micropython import const

_FILE = const("boots")
_TRACE = const("crash")
_NUMBERS = const(65535)  # a start's number fits into two bytes of a queued reading


def begin(board):
    """Count this start; return (its number, crashes in a row)."""
    number, crashes = _read()
    number = number % _NUMBERS + 1
    crashes = 0 if board.was_power_on() else crashes + 1
    _write(number, crashes)
    return number, crashes


def forgive(crashes=0):
    """Set the crashes in a row: after a steady run, a person's stop or a restart on command."""
    number, before = _read()
    if before != crashes:
        _write(number, crashes)


def keep_trace(exc):
    """Keep the start of an exception's traceback for the report of safe mode."""
    try:
        write_atomic(_TRACE, load("traceback").text_of_failure(exc))
    except (OSError, MemoryError):
        pass


def last_trace():
    """Return the last traceback that was kept, or an empty text."""
    try:
        return read_text(_TRACE) or ""
    except (OSError, ValueError):
        return ""


def _read():
    try:
        number, crashes = [int(part) for part in (read_text(_FILE) or "").split()]
    except (OSError, ValueError):
        return 0, 0
    return number, crashes


def _write(number, crashes):
    try:
        write_atomic(_FILE, "%d %d" % (number, crashes))
    except OSError as exc:
        print("device: cannot count this start: %s" % exc)
