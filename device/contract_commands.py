"""Defines the payloads of commands, replies and the time. Pure; loaded when one comes."""

import json

from device.contract import encode_json, has_surrogates
from device.errors import WireError
from micropython import const

NO_NAME = "invalid-name"  # replies to commands whose name cannot stand in a topic go here
ERROR_BYTES = 160  # of a failed command's reply

_ID_BYTES = const(64)  # of a command's id
_ID_LIMIT = 1 << 53  # above it a receiver that counts in doubles reads another number


def decode_time(payload):
    """Return the unix seconds that the gateway tells."""
    at = json_object(payload, "time").get("at")
    if isinstance(at, bool) or not isinstance(at, (int, float)) or at - at != 0:
        raise WireError("cannot read time: at is not a number")
    return int(at)


def decode_command(payload):
    """Return (command id, arguments) of a command."""
    args = json_object(payload, "command")
    return args.pop("id", None), args


def is_command_id(value):
    """Return whether a command's id may come back in its reply: a small scalar."""
    if isinstance(value, str):
        return len(value.encode()) <= _ID_BYTES and not has_surrogates(value.encode())
    if isinstance(value, float):
        return value - value == 0  # else inf or nan
    if value is None or isinstance(value, bool):
        return True
    return isinstance(value, int) and -_ID_LIMIT < value < _ID_LIMIT


def encode_reply(command_id, result):
    """Return the answer to a successful command; an object's fields become the reply's."""
    reply = {}
    if isinstance(result, dict):
        reply.update(result)
    elif result is not None:
        reply["value"] = result
    reply["id"] = command_id
    reply["ok"] = True
    return encode_json(reply)


def encode_failure(command_id, error):
    """Return the answer to a command that failed; it is small, whatever failed."""
    return encode_json({"id": command_id, "ok": False, "error": cut(error, ERROR_BYTES)})


def cut(text, limit):
    """Return the start of a text: at most `limit` bytes, and characters that UTF-8 has."""
    start = "".join(["?" if "\ud7ff" < c < "\ue000" else c for c in text[:limit]])
    while len(start.encode()) > limit:
        start = start[:-1]
    return start


def find_id(payload):
    """Return the id of a command that is not decoded otherwise, or None."""
    try:
        command_id = decode_command(payload or b"")[0]
    except (WireError, MemoryError):
        return None
    return command_id if is_command_id(command_id) else None


def json_object(payload, what):
    """Return the object in a payload; WireError when there is none."""
    try:
        value = json.loads(payload)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise WireError("cannot read %s: not a JSON object" % what)
    return value
