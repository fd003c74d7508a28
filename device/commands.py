"""Runs commands and sends their replies.

Theory. A command waits in a bounded list; one handler runs at a time. The device sends its PUBACK
once the gateway has the reply. After a power cut before that, the command arrives again, so a
handler must allow a second run. Within one run of the program a repeated command (DUP) is not
executed again; its PUBACK waits for the reply that is already under way.
"""

import asyncio
import sys

from device import contract
from device.errors import WireError
from device.outbox import SENT, WAITING

_LIMIT = 8  # waiting; one more is answered with an error
_REMEMBERED = 8  # replies, to know a command that comes again


class Commands:
    """Handlers by name, and the commands that wait for them."""

    def __init__(self, put, acknowledge):
        self.failures = 0  # exceptions in handlers
        self._put = put  # (path, payload, on_end) -> outbox entry; ValueError when too large
        self._acknowledge = acknowledge
        self._handlers = {}
        self._waiting = []
        self._arrived = asyncio.Event()
        self._replied = []  # (name, command id, outbox entry of the reply)

    def register(self, name, function):
        """Run the function for commands of this name."""
        self._handlers[contract.check_name(name)] = function

    def take(self, command):
        """Let a command wait for its turn."""
        if len(self._waiting) < _LIMIT:
            self._waiting.append(command)
            self._arrived.set()
            return
        command_id = _id_of(command)
        self._fail(command, command_id, _cannot(command, "too many commands wait"))

    async def run(self):
        """Handle commands for ever."""
        while True:
            while not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            await self._handle(self._waiting.pop(0))

    async def _handle(self, command):
        if command.payload is None:
            self._fail(command, None, _cannot(command, "it is too large"))
            return
        try:
            command_id, args = contract.decode_command(command.payload)
        except WireError as exc:
            self._fail(command, None, str(exc))
            return
        if command.dup and self._is_repeated(command, command_id):
            return
        handler = self._handlers.get(command.name)
        if handler is None:
            known = ", ".join(sorted(self._handlers)) or "none"
            self._fail(command, command_id, _cannot(command, "no such command; known: " + known))
            return
        try:
            result = await value_of(handler(args))
            self._reply(command, command_id, contract.encode_reply(command_id, result))
        except Exception as exc:  # the author's code: its error is the answer
            self.failures += 1
            report(command.name, exc)
            why = str(exc) if isinstance(exc, ValueError) else "%s %s" % (type(exc).__name__, exc)
            self._fail(command, command_id, _cannot(command, why))

    def _is_repeated(self, command, command_id):
        for name, known_id, entry in self._replied:
            if command_id is not None and (name, known_id) == (command.name, command_id):
                if entry.state in (WAITING, SENT):
                    entry.on_end = lambda: self._acknowledge(command)
                else:
                    self._acknowledge(command)
                return True
        return False

    def _fail(self, command, command_id, error):
        self._reply(command, command_id, contract.encode_failure(command_id, error))

    def _reply(self, command, command_id, payload):
        path = contract.reply_path(command.name)
        entry = self._put(path, payload, lambda: self._acknowledge(command))
        self._replied = self._replied[1 - _REMEMBERED :] + [(command.name, command_id, entry)]


async def value_of(result):
    """Return the result of a function, async or not."""
    return await result if hasattr(result, "send") else result


def report(name, exc):
    """Print an exception of the author's code."""
    print("device: %s failed:" % name)
    sys.print_exception(exc)


def _cannot(command, why):
    return "cannot run %s: %s" % (command.name, why)


def _id_of(command):
    try:
        return contract.decode_command(command.payload or b"")[0]
    except WireError:
        return None
