"""Defines the topics and payloads that a device shares with its gateway. Pure.

tests/vectors/device_contract.json holds this file and the gateway's side together.
"""

import io
import json
from collections import namedtuple

from device.errors import Refused, WireError

Credentials = namedtuple("Credentials", ("device_id", "username", "password", "prefix"))

CLAIM_USER = "claim"
NAME_LIMIT = 64
ONLINE = b"online"
OFFLINE = b"offline"
STATUS = "status"  # what a device says of itself; its will says OFFLINE there
COMMANDS = "commands/+"
TIME = "time"  # the gateway answers each ONLINE there
ID_BYTES = 64  # of a command's id
ERROR_BYTES = 160  # of a failed command's reply
NESTING = 8  # of what a device sends; json.dumps() recurses in C
PACKET_LIMIT = 4096  # a larger command is answered with an error, a larger reading refused
HEAD_BYTES = 96  # of a PUBLISH: fixed header, packet id, the device's prefix
NO_NAME = "invalid-name"  # replies to commands whose name cannot stand in a topic go here

_ID_LIMIT = 1 << 53  # above it a receiver that counts in doubles reads another number
_NAME_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"


def check_name(name):
    """Return a reading's or command's name; ValueError when it cannot be a level of a topic."""
    if not is_name(name):
        raise ValueError("cannot use name %r: 1 to 64 of A-Z a-z 0-9 . _ -" % name[:NAME_LIMIT])
    return name


def is_name(name):
    """Return whether a name can be a level of a topic."""
    return 1 <= len(name) <= NAME_LIMIT and all(c in _NAME_CHARACTERS for c in name)


# Joining -------------------------------------------------------------------------------


def join_request_topic(client_id):
    """Return the topic of a join request."""
    return "$hec/join/%s/request" % client_id


def join_response_topic(client_id):
    """Return the topic of the gateway's answer."""
    return "$hec/join/%s/response" % client_id


def encode_join_request(name, model):
    """Return the payload of a join request."""
    return json.dumps({"name": name, "model": model}).encode()


def decode_join_response(payload):
    """Return the credentials in the gateway's answer; Refused when it holds an error."""
    answer = _json_object(payload, "join response")
    if "error" in answer:
        raise Refused(str(answer["error"]))
    return credentials_of(answer)


def credentials_of(answer):
    """Return checked credentials from an object: an answer, or the stored one."""
    values = tuple(answer.get(field) for field in ("device_id", "username", "password", "prefix"))
    if not all(isinstance(value, str) and value for value in values):
        raise WireError("cannot read credentials: a field is missing")
    credentials = Credentials(*values)
    if credentials.prefix != "devices/%s" % credentials.device_id:
        raise WireError("cannot read credentials: prefix is not that of the device")
    return credentials


def encode_credentials(credentials):
    """Return credentials as JSON text, which credentials_of reads."""
    return json.dumps(
        {
            "device_id": credentials.device_id,
            "username": credentials.username,
            "password": credentials.password,
            "prefix": credentials.prefix,
        }
    )


# Living --------------------------------------------------------------------------------


def device_topic(prefix, path):
    """Return the topic of STATUS, COMMANDS, a reading or a reply."""
    return "%s/%s" % (prefix, path)


def reading_path(name):
    """Return the topic of readings of one name."""
    return "readings/" + name


def reply_path(name):
    """Return the topic of a command's reply."""
    return "replies/" + name


def command_name(prefix, topic):
    """Return the command in a topic, or None when it holds none."""
    start = prefix + "/commands/"
    if not topic.startswith(start) or "/" in topic[len(start) :]:
        return None
    return topic[len(start) :]


def encode_reading(value, unit, at, seq):
    """Return a reading; unit and at (unix seconds) may be None and are then absent."""
    reading = {"value": value, "seq": seq}
    if unit is not None:
        reading["unit"] = unit
    if at is not None:
        reading["at"] = at
    return encode_json(reading)


def dated(reading, at):
    """Return an encoded reading with its time, which it did not have."""
    return reading[:-1] + (', "at": %d}' % at).encode()


def decode_time(payload):
    """Return the unix seconds that the gateway tells."""
    at = _json_object(payload, "time").get("at")
    if isinstance(at, bool) or not isinstance(at, (int, float)):
        raise WireError("cannot read time: at is not a number")
    return int(at)


def decode_command(payload):
    """Return (command id, arguments) of a command."""
    args = _json_object(payload, "command")
    return args.pop("id", None), args


def is_command_id(value):
    """Return whether a command's id may come back in its reply: a small scalar."""
    if isinstance(value, str):
        return len(value.encode()) <= ID_BYTES and not _has_surrogates(value.encode())
    if isinstance(value, float):
        return _is_finite(value)
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


def check_size(path, payload):
    """Raise ValueError for a message that does not fit into one packet."""
    size = len(path) + len(payload) + HEAD_BYTES
    if size > PACKET_LIMIT:
        raise ValueError("cannot publish: %d bytes are more than %d" % (size, PACKET_LIMIT))


def text_of(exc, limit):
    """Return the start of an exception's text, without a copy of it all."""
    only = exc.args[0] if len(exc.args) == 1 else None
    return (only if isinstance(only, str) else str(exc))[:limit]


def cut(text, limit):
    """Return the start of a text: at most `limit` bytes, and characters that UTF-8 has."""
    start = "".join("?" if "\ud7ff" < c < "\ue000" else c for c in text[:limit])
    while len(start.encode()) > limit:
        start = start[:-1]
    return start


def encode_json(value):
    """Return JSON; ValueError for what is not JSON: MicroPython writes nan and set() as they are."""
    check_json(value, NESTING)
    buffer = io.BytesIO()
    try:
        json.dump(value, buffer)  # without the copies of a large text that dumps() and encode() make
        encoded = buffer.getvalue()
    except TypeError:  # CPython's json writes text
        encoded = json.dumps(value).encode()
    if _has_surrogates(encoded):
        raise ValueError("cannot send text: half a surrogate pair is not UTF-8")
    return encoded


def check_json(value, nesting):
    """Raise ValueError unless a value is JSON."""
    if value is None or isinstance(value, (bool, int)):  # MicroPython's bool is no int
        return
    if isinstance(value, float):
        if not _is_finite(value):
            raise ValueError("cannot send %s: not a finite number" % value)
    elif isinstance(value, str):
        return
    elif not isinstance(value, (list, tuple, dict)):
        raise ValueError("cannot send %s: not a JSON type" % type(value).__name__)
    elif not nesting:
        raise ValueError("cannot send: nested more than %d deep" % NESTING)
    else:
        for item in value:
            check_json(item, nesting - 1)
            if isinstance(value, dict):
                if not isinstance(item, str):
                    raise ValueError("cannot send object: a key is not a text")
                check_json(value[item], nesting - 1)


def _is_finite(number):
    return number == number and number - number == 0


def _has_surrogates(encoded):
    """Return whether there is U+D800 to U+DFFF in UTF-8, which MicroPython writes though."""
    at = encoded.find(b"\xed")
    while at >= 0:
        if encoded[at + 1] >= 0xA0:
            return True
        at = encoded.find(b"\xed", at + 1)
    return False


def _json_object(payload, what):
    try:
        value = json.loads(payload)
    except ValueError:
        raise WireError("cannot read %s: not JSON" % what)
    if not isinstance(value, dict):
        raise WireError("cannot read %s: not a JSON object" % what)
    return value
