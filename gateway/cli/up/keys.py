"""Keeps typed characters, such as the ^C of Ctrl-C, off a screen being drawn, and reads keys."""

import os
import select
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOCAL_FLAGS = 3  # the index of the flags with ECHO in termios.tcgetattr()
KEYS_LIMIT = 64  # bytes of one read


@contextmanager
def quiet_keys() -> Iterator[None]:
    """Turn the terminal's echo off for as long as the block lasts."""
    with _without(termios.ECHO):
        yield


@contextmanager
def typed_keys() -> Iterator[Callable[[], str]]:
    """Give a function that returns the keys typed since its last call; there is no echo."""
    with _without(termios.ECHO | termios.ICANON):
        yield _read_keys


@contextmanager
def _without(flags: int) -> Iterator[None]:
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    quiet = list(before)
    quiet[LOCAL_FLAGS] &= ~flags
    termios.tcsetattr(sys.stdin, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


def _read_keys() -> str:
    if not sys.stdin.isatty() or not select.select([sys.stdin], [], [], 0)[0]:
        return ""
    return os.read(sys.stdin.fileno(), KEYS_LIMIT).decode(errors="replace")
