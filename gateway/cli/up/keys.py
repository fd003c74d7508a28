"""Keeps typed characters, such as the ^C of Ctrl-C, off a screen that is being drawn."""

import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager

LOCAL_FLAGS = 3  # where termios.tcgetattr has ECHO and the like


@contextmanager
def quiet_keys() -> Iterator[None]:
    """Turn the terminal's echo off for as long as the block lasts."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    quiet = list(before)
    quiet[LOCAL_FLAGS] &= ~termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)
