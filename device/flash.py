"""Reads and writes small files on the board's flash, and loads modules from it for one use.

LittleFS renames atomically, so after a power cut a file holds its old or its new content.
"""

import os
import sys

from micropython import const

_ENOENT = const(2)
_LIMIT = const(8192)  # of a small file: a larger one is not ours, and memory is scarce


def check_size(path):
    """Raise ValueError for a file that is no small one, OSError when there is none."""
    size = os.stat(path)[6]
    if size > _LIMIT:
        raise ValueError("%s has %d bytes, limit is %d" % (path, size, _LIMIT))


def read_text(path):
    """Return a file's text, or None when there is no such file; ValueError when it is none."""
    try:
        check_size(path)
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
    """Delete a file if it exists; a failure is printed, for there is nothing else to do."""
    try:
        os.remove(path)
    except OSError as exc:
        if exc.errno != _ENOENT:
            print("device: cannot delete %s: %s" % (path, exc))


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
