"""Remembers, across resets, the ids of commands that began to run. Loaded when a command comes.

The file is appended to, once for each command with an id, and rewritten when it has grown. A line
is a CRC-32 of name and id in hexadecimal; a line that a power cut tore is ignored.
"""

import binascii
import json

from device import flash
from micropython import const

_FILE = const("commands")
_KEPT = const(32)
_DIGITS = const(8)


class CommandIds:
    """The ids of the last commands, of this run and of earlier ones."""

    def __init__(self, state=None, path=_FILE):
        self._path = path
        self.state = state or self._load()  # (ids of earlier runs, of this one, lines in the file)

    def why_not(self, key):
        """Return why a command must not run again, or None."""
        if key in self.state[0]:
            return "it began before this device was reset, and its reply is lost"
        if key in self.state[1]:
            return "a command with this id has run already"
        return None

    def began(self, key):
        """Return whether a command began in this run."""
        return key in self.state[1]

    def remember(self, key):
        """Note that a command begins; OSError when the flash does not take it."""
        before, now, lines = self.state
        now.append(key)
        if len(now) > _KEPT:
            now.pop(0)
        if lines >= 2 * _KEPT:
            known = (before + now)[-_KEPT:]
            flash.write_atomic(self._path, "".join(["%08x\n" % k for k in known]))
            self.state[2] = len(known)
            return
        with open(self._path, "a") as file:
            file.write("%08x\n" % key)
        self.state[2] = lines + 1

    def _load(self):
        try:
            lines = (flash.read_text(self._path) or "").split("\n")
        except (OSError, ValueError):
            lines = []
        keys = []
        for line in lines[-_KEPT - 1 :]:
            try:
                if len(line) == _DIGITS:
                    keys.append(int(line, 16))
            except ValueError:
                pass
        return [keys, [], len(lines)]

    @staticmethod
    def key_of(name, command_id):
        """Return what is remembered of a command."""
        return binascii.crc32(("%s %s" % (name, json.dumps(command_id))).encode())
