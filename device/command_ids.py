"""Remembers, across resets, the commands that began to run. Loaded when a command comes.

Commands with an id have a file of their own, and those without one have another. A file is appended
to, once for each command, and rewritten when it has grown. A line is a CRC-32 in hexadecimal; a line
that a power cut tore is ignored.

A command with an id is known by name and id, as long as the file holds it. One without an id is
known by its delivery: packet id, name and payload, and only a delivery with DUP can be a repetition.
It is forgotten with its PUBACK, and those of earlier runs with the first delivery without DUP: a
broker sends again first what was not acknowledged. [MQTT-4.4.0-1] [MQTT-4.6.0-1]
"""

import binascii
import json

from device import flash
from micropython import const

_FILES = ("commands", "deliveries")  # with an id, without
_KEPT = const(32)
_DIGITS = const(8)


class CommandIds:
    """The ids of the last commands, of this run and of earlier ones."""

    def __init__(self, state=None, kind=0):
        self._path = _FILES[kind]
        self.state = state or self._load()  # [ids of earlier runs, of this one, lines in the file]

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
            return [[], [], 2 * _KEPT]  # the next one is written over it
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
