"""Runs a command and sends its reply. Loaded while commands wait.

A command with an id runs at most once: the flash remembers the id before the handler begins; when
it cannot, the PUBACK leaves first. A command without an id that comes again because a reset or a
cut took its PUBACK does not run again either, or one whose handler resets the board would do so for
ever. A failure's reply is small, so that there is memory for it.
"""

import asyncio
import binascii
import gc

from device.calls import TookTooLong, call, text_of
from device.contract import check_size, is_name
from device.errors import WireError
from device.flash import load
from device.outbox import DROPPED, SENT, WAITING
from micropython import const

_REMEMBERED = const(8)  # replies under way, to know a command that comes again
_LOOKS = const(50)  # for room for a reply, or for the time
_LOOK_MS = const(100)

_contract = load("contract_commands")


async def handle(commands, command):
    """Run a command, or answer why not."""
    try:
        await _handle(commands, command)
    except Exception as exc:
        gc.collect()
        commands.failures.note("commands", exc)
        await _fail(commands, command, None, describe_failure(exc))


async def refuse(commands, command, command_id):
    """Answer a command for which there is no room."""
    await _fail(commands, command, command_id, "too many commands wait")


async def _handle(commands, command):
    if not is_name(command.name):
        await _fail(commands, command, None, "its name is not 1 to 64 of A-Z a-z 0-9 . _ -")
        return
    if command.payload is None:
        await _fail(commands, command, None, "it is too large")
        return
    try:
        command_id, args = _contract.decode_command(command.payload)
    except WireError as exc:
        await _reply(commands, command, None, _contract.encode_failure(None, str(exc)), None)
        return
    if not _contract.is_command_id(command_id):
        await _fail(commands, command, None, "its id is not a number or a text of 64 bytes")
        return
    why = await _refusal(commands, command, args)
    key, is_at_qos_1 = None, command.packet_id
    if why is None and (command_id is not None or is_at_qos_1):
        why, key, is_done = _begin(commands, command, command_id)
        if is_done:
            return
    if why is not None:
        await _fail(commands, command, command_id, why, key if command_id is None else None)
        return
    if is_at_qos_1 and not command.packet_id:
        await asyncio.sleep_ms(_LOOK_MS)  # in which its PUBACK leaves
    payload = await _run(commands, command, command_id, args)
    await _reply(commands, command, command_id, payload, key)


def _begin(commands, command, command_id):
    """Remember a command; return (why it must not run or None, its key, whether all is done)."""
    kind = command_id is None
    ids = load("command_ids").CommandIds(commands.ids[kind], kind)
    commands.ids[kind] = ids.state
    known = (command.packet_id, binascii.crc32(command.payload)) if kind else command_id
    key = ids.key_of(command.name, known)
    if kind:
        command.forget = ids.state[1], key
    if command.dup and _is_under_way(commands, ids, command, key):
        return None, key, True
    if kind and not command.dup:
        ids.state[0] = []
        why = None
    else:
        why = ids.why_not(key)
    if why is not None:
        if kind:
            ids.state[1].append(key)  # until the gateway has the refusal
    elif command.packet_id:  # QoS 0 does not come again
        try:
            ids.remember(key)
        except OSError as exc:
            commands.failures.note("flash", exc)
            command.acknowledge()  # or it would run again after each reset that it causes
            command.packet_id = 0
    return why, key, False


async def _refusal(commands, command, args):
    """Return why a command must not run, or None."""
    if command.retain:
        return "it is retained, so every reconnect would run it; publish it without retain"
    expires = args.pop("expires", None)
    if expires is not None:
        is_number = isinstance(expires, (int, float)) and not isinstance(expires, bool)
        if not is_number or expires - expires != 0:  # inf or nan
            return "expires is not a number of unix seconds"
        for _ in range(_LOOKS):
            if commands.clock.now() is not None:
                break
            await asyncio.sleep_ms(_LOOK_MS)
        now = commands.clock.now()
        if now is None:
            return "it expires, and this device does not know the time yet"
        if now > expires:
            return "it has expired %d s ago" % min(now - int(expires), 10**9)
    if command.name not in commands.handlers:
        return "no such command; known: " + (", ".join(sorted(commands.handlers)) or "none")
    return None


def _is_under_way(commands, ids, command, key):
    """Return whether a command that comes again needs no reply of its own."""
    for known, first, entry in commands.replied:
        if known == key and entry.state in (WAITING, SENT):
            if first.round != command.round:
                entry.on_end = command.acknowledge
            elif first.packet_id != command.packet_id:
                command.acknowledge()
            return True
    if ids.began(key):
        command.acknowledge()
        return True
    return False


async def _run(commands, command, command_id, args):
    try:
        result = await call(commands.handlers[command.name], commands.limit_ms, args)
        payload = _contract.encode_reply(command_id, result)
        check_size("replies/" + command.name, payload)
        return payload
    except Exception as exc:  # the author's code: its error is the answer
        gc.collect()
        if not isinstance(exc, ValueError):
            commands.failures.note(command.name, exc)
        return _contract.encode_failure(command_id, _cannot(command, describe_failure(exc)))


async def _fail(commands, command, command_id, why, key=None):
    try:
        payload = _contract.encode_failure(command_id, _cannot(command, why))
        await _reply(commands, command, command_id, payload, key)
    except MemoryError:
        gc.collect()
        command.acknowledge()


async def _reply(commands, command, command_id, payload, key):
    name = command.name if is_name(command.name) else _contract.NO_NAME
    path = "replies/" + name
    command.payload = None  # it is remembered, and its bytes are not
    if not await _has_room(commands.outbox, len(path) + len(payload)):
        why = "there is no room for its reply"
        payload = _contract.encode_failure(command_id, _cannot(command, why))
    entry = commands.outbox.put(path, payload, command.acknowledge, True)
    if key is not None and entry.state != DROPPED:
        commands.replied = commands.replied[1 - _REMEMBERED :] + [(key, command, entry)]
    commands.wake()


async def _has_room(outbox, size):
    for _ in range(_LOOKS):
        if outbox.has_room(size):
            return True
        await asyncio.sleep_ms(_LOOK_MS)
    return False


def describe_failure(exc):
    """Return an exception as the reason in a reply."""
    if isinstance(exc, MemoryError):
        return "no memory"
    text = text_of(exc, _contract.ERROR_BYTES)
    if isinstance(exc, (ValueError, TookTooLong)):
        return text
    return "%s %s" % (type(exc).__name__, text)


def _cannot(command, why):
    return "cannot run %s: %s" % (command.name[:32], why)
