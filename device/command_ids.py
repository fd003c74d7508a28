"""Remembers, across resets, the ids of commands that began to run.

The file is appended to, once for each command with an id, and rewritten when it has grown. A line
is a CRC-32 of name and id in hexadecimal; a line that a power cut tore is ignored.
"""

import binascii
import json

from device import flash

_FILE = "commands"
_KEPT = 32
_LINE = 9


class CommandIds:
    """The ids of the last commands, of this run and of earlier ones."""

    def __init__(self, path=_FILE):
        self._path = path
        self._lines = 0
        self._before = self._load()
        self._now = []

    def began_before_reset(self, key):
        """Return whether a command began in an earlier run of the program."""
        return key in self._before

    def began(self, key):
        """Return whether a command began in this run."""
        return key in self._now

    def remember(self, key):
        """Note that a command begins; OSError when the flash does not take it."""
        self._now = self._now[1 - _KEPT :] + [key]
        if self._lines >= 2 * _KEPT:
            known = (self._before + self._now)[-_KEPT:]
            flash.write_atomic(self._path, "".join("%08x\n" % k for k in known))
            self._lines = len(known)
            return
        with open(self._path, "a") as file:
            file.write("%08x\n" % key)
        self._lines += 1

    def _load(self):
        try:
            lines = (flash.read_text(self._path) or "").split("\n")
        except (OSError, ValueError):
            lines = []
        self._lines = len(lines)
        keys = []
        for line in lines[-_KEPT:]:
            try:
                if len(line) == _LINE - 1:
                    keys.append(int(line, 16))
            except ValueError:
                pass
        return keys


def key_of(name, command_id):
    """Return what is remembered of a command."""
    return binascii.crc32(("%s %s" % (name, json.dumps(command_id))).encode())
