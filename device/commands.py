"""Runs commands and sends their replies.

Theory. A command waits in a bounded list, whose bytes are reserved in the outbox; one handler runs
at a time. The device sends its PUBACK once the gateway has the reply, or once there is no way to
keep one: a command without PUBACK comes again after every reconnect, so every way through this
module ends in acknowledge(). A failure's reply is small, so that there is memory for it.

A command with an id runs at most once: the flash remembers the id before the handler begins.
Without an id, a command that comes again after a reset runs again.
"""

import asyncio
import gc

from device import contract
from device.calls import TookTooLong, call
from device.command_ids import key_of
from device.errors import WireError
from device.outbox import DROPPED, SENT, WAITING

_LIMIT = 8  # waiting; one more is answered with an error
_REFUSED_LIMIT = 32  # that wait for room for their reply; more are acknowledged without one
_REMEMBERED = 8  # replies under way, to know a command that comes again
_LOOKS = 50  # for room for a reply, or for the time
_LOOK_MS = 100


class Commands:
    """Handlers by name, and the commands that wait for them."""

    def __init__(self, outbox, ids, clock, failures, limit_ms, wake):
        self._outbox = outbox
        self._ids = ids
        self._clock = clock
        self._failures = failures
        self._limit_ms = limit_ms
        self._wake = wake  # called when the outbox has got something to send
        self._handlers = {}
        self._waiting = []
        self._refused = []  # (command, its id)
        self._arrived = asyncio.Event()
        self._replied = []  # (key, command, outbox entry of the reply)

    def register(self, name, function):
        """Run the function for commands of this name."""
        self._handlers[contract.check_name(name)] = function

    def take(self, command):
        """Let a command wait for its turn."""
        if len(self._waiting) < _LIMIT and self._outbox.reserve(_size(command)):
            self._waiting.append(command)
            self._arrived.set()
            return
        command_id = _id_of(command)
        command.payload = None
        if len(self._refused) < _REFUSED_LIMIT:
            self._refused.append((command, command_id))
            self._arrived.set()
        else:
            command.acknowledge()

    async def run(self):
        """Handle commands for ever."""
        while True:
            while self._refused:
                await self._fail(*self._refused.pop(0), "too many commands wait")
            while not self._waiting and not self._refused:
                self._arrived.clear()
                await self._arrived.wait()
            if not self._waiting:
                continue
            command = self._waiting.pop(0)
            size = _size(command)
            try:
                await self._handle(command)
            except Exception as exc:
                gc.collect()
                self._failures.note("commands", exc)
                await self._fail(command, None, describe_failure(exc))
            finally:
                self._outbox.release(size)

    async def _handle(self, command):
        if not contract.is_name(command.name):
            await self._fail(command, None, "its name is not 1 to 64 of A-Z a-z 0-9 . _ -")
            return
        if command.payload is None:
            await self._fail(command, None, "it is too large")
            return
        try:
            command_id, args = contract.decode_command(command.payload)
        except WireError as exc:
            await self._reply(command, None, contract.encode_failure(None, str(exc)), None)
            return
        if not contract.is_command_id(command_id):
            await self._fail(command, None, "its id is not a number or a text of 64 bytes")
            return
        why = await self._refusal(command, args)
        key = None if command_id is None else key_of(command.name, command_id)
        if why is None and key is not None:
            if command.dup and self._is_under_way(command, key):
                return
            why = self._repetition(key)
        if why is not None:
            await self._fail(command, command_id, why)
            return
        self._remember(command, key)
        payload = await self._run(command, command_id, args)
        await self._reply(command, command_id, payload, key)

    async def _refusal(self, command, args):
        """Return why a command must not run, or None."""
        if command.retain:
            return "it is retained, so every reconnect would run it; publish it without retain"
        expires = args.pop("expires", None)
        if expires is not None:
            if isinstance(expires, bool) or not isinstance(expires, (int, float)):
                return "expires is not a number of unix seconds"
            now = await self._known_time()
            if now is None:
                return "it expires, and this device does not know the time yet"
            if now > expires:
                return "it has expired %d s ago" % min(now - int(expires), 10**9)
        if command.name not in self._handlers:
            return "no such command; known: " + (", ".join(sorted(self._handlers)) or "none")
        return None

    def _is_under_way(self, command, key):
        """Return whether a command that comes again needs no reply of its own."""
        for known, first, entry in self._replied:
            if known == key and entry.state in (WAITING, SENT):
                if first.round != command.round:
                    entry.on_end = command.acknowledge
                elif first.packet_id != command.packet_id:
                    command.acknowledge()
                return True
        if self._ids.began(key):
            command.acknowledge()
            return True
        return False

    def _repetition(self, key):
        if self._ids.began_before_reset(key):
            return "it began before this device was reset, and its reply is lost"
        if self._ids.began(key):
            return "a command with this id has run already"
        return None

    def _remember(self, command, key):
        if key is None or not command.packet_id:  # QoS 0 does not come again
            return
        try:
            self._ids.remember(key)
        except OSError as exc:
            self._failures.note("flash", exc)

    async def _run(self, command, command_id, args):
        try:
            result = await call(self._handlers[command.name], self._limit_ms, args)
            payload = contract.encode_reply(command_id, result)
            contract.check_size(contract.reply_path(command.name), payload)
            return payload
        except Exception as exc:  # the author's code: its error is the answer
            gc.collect()
            if not isinstance(exc, ValueError):
                self._failures.note(command.name, exc)
            return contract.encode_failure(command_id, _cannot(command, describe_failure(exc)))

    async def _known_time(self):
        for _ in range(_LOOKS):
            if self._clock.now() is not None:
                break
            await asyncio.sleep_ms(_LOOK_MS)
        return self._clock.now()

    async def _fail(self, command, command_id, why):
        try:
            payload = contract.encode_failure(command_id, _cannot(command, why))
            await self._reply(command, command_id, payload, None)
        except MemoryError:
            gc.collect()
            command.acknowledge()

    async def _reply(self, command, command_id, payload, key):
        name = command.name if contract.is_name(command.name) else contract.NO_NAME
        path = contract.reply_path(name)
        command.payload = None  # it is remembered, and its bytes are not
        if not await self._has_room(len(path) + len(payload)):
            why = "there is no room for its reply"
            payload = contract.encode_failure(command_id, _cannot(command, why))
        entry = self._outbox.put(path, payload, command.acknowledge, kept=True)
        if key is not None and entry.state != DROPPED:
            self._replied = self._replied[1 - _REMEMBERED :] + [(key, command, entry)]
        self._wake()

    async def _has_room(self, size):
        for _ in range(_LOOKS):
            if self._outbox.has_room(size):
                return True
            await asyncio.sleep_ms(_LOOK_MS)
        return False


def describe_failure(exc):
    """Return an exception as the reason in a reply."""
    if isinstance(exc, MemoryError):
        return "no memory"
    text = contract.text_of(exc, contract.ERROR_BYTES)
    if isinstance(exc, (ValueError, TookTooLong)):
        return text
    return "%s %s" % (type(exc).__name__, text)


def _cannot(command, why):
    return "cannot run %s: %s" % (command.name[:32], why)


def _size(command):
    return len(command.payload or b"")


def _id_of(command):
    try:
        command_id = contract.decode_command(command.payload or b"")[0]
    except (WireError, MemoryError):
        return None
    return command_id if contract.is_command_id(command_id) else None
