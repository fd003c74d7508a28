"""Reads and writes small files on the board's flash, and loads modules from it for one use.

LittleFS renames atomically, so after a power cut a file holds its old or its new content.
"""

import os
import sys

from micropython import const

_ENOENT = const(2)


def read_text(path):
    """Return a file's text, or None when there is no such file."""
    try:
        with open(path) as file:
            return file.read()
    except OSError as exc:
        if exc.errno != _ENOENT:
            raise
        return None


def write_atomic(path, text):
    """Replace a file; after a power cut it holds the old text or the new."""
    fresh = path + ".new"
    with open(fresh, "w") as file:
        file.write(text)
    os.rename(fresh, path)


def remove(path):
    """Delete a file if it exists."""
    try:
        os.remove(path)
    except OSError as exc:
        if exc.errno != _ENOENT:
            raise


def load(name):
    """Return a module of the package that is seldom needed; its last user frees its memory.

    A module that other code has imported stays.
    """
    full = "device." + name
    if full in sys.modules:
        return sys.modules[full]
    module = __import__(full, None, None, (name,))
    del sys.modules[full]
    delattr(sys.modules["device"], name)
    return module
