"""Lets commands wait for their turn. command_run.py runs them, and is in memory meanwhile.

Theory. A command waits in a bounded list, whose bytes are reserved in the outbox; one handler runs
at a time. The device sends its PUBACK once the gateway has the reply, or once there is no way to
keep one: a command without PUBACK comes again after every reconnect, so every way through this
module and command_run.py ends in acknowledge().
"""

import asyncio
import gc

from device.contract import NAME_LIMIT, check_name
from device.flash import load
from micropython import const

_LIMIT = const(8)  # waiting; one more is answered with an error
_REFUSED_LIMIT = const(32)  # commands that wait for room for a refusal; more get no reply


class ReceivedCommand:
    """A command as it arrived."""

    def __init__(self, name, message, number, acknowledge):
        self.name = name[: NAME_LIMIT + 1]  # a longer one is refused, and not kept
        self.payload = message[2]
        self.packet_id = message[3]
        self.retain = message[4]
        self.dup = message[5]
        self.round = number  # of the connection it came by
        self.forget = None  # (keys, key): what is remembered until its PUBACK
        self._acknowledge = acknowledge

    def acknowledge(self):
        """Send its PUBACK."""
        if self._acknowledge(self.packet_id, self.round) and self.forget:
            keys, key = self.forget
            if key in keys:
                keys.remove(key)

    def size(self):
        """Return the bytes of its payload."""
        return len(self.payload or b"")


class Commands:
    """Handlers by name, and the commands that wait for them."""

    def __init__(self, outbox, clock, failures, limit_ms, link):
        self.outbox = outbox
        self.clock = clock
        self.failures = failures
        self.limit_ms = limit_ms
        self.handlers = {}
        self.replied = []  # (key, command, outbox entry of the reply)
        self.ids = [None, None]  # the commands that command_ids.py knows: with an id, without
        self._link = link
        self._waiting = []
        self._refused = []  # (command, its id)
        self._task = None

    def register(self, name, function):
        """Run the function for commands of this name."""
        self.handlers[check_name(name)] = function

    def take(self, name, message, number):
        """Let a command wait for its turn."""
        command = ReceivedCommand(name, message, number, self._link.acknowledge)
        if len(self._waiting) < _LIMIT and self.outbox.reserve(command.size()):
            self._waiting.append(command)
        elif len(self._refused) < _REFUSED_LIMIT:
            command_id = load("contract_commands").find_id(command.payload)
            command.payload = None
            self._refused.append((command, command_id))
        else:
            command.acknowledge()
            return
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    def wake(self):
        """Tell that the outbox has got something to send."""
        self._link.wake()

    async def _run(self):
        """Handle the commands that wait; forget afterwards how that is done."""
        try:
            handling = load("command_run")
            while self._waiting or self._refused:
                if self._refused:
                    await handling.refuse(self, *self._refused.pop(0))
                    continue
                command = self._waiting.pop(0)
                size = command.size()
                try:
                    await handling.handle(self, command)
                finally:
                    self.outbox.release(size)
        except Exception as exc:  # no memory for the module, or none for a reply
            gc.collect()
            self.failures.note("commands", exc)
            self._give_up()
        finally:
            self._task = None

    def _give_up(self):
        for command in self._waiting:
            self.outbox.release(command.size())
            command.acknowledge()
        for command, _ in self._refused:
            command.acknowledge()
        self._waiting, self._refused = [], []
