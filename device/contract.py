"""Defines the topics and payloads that a device shares with its gateway. Pure.

tests/vectors/device_contract.json holds this file and the gateway's side together.
"""

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

_NAME_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"


def check_name(name):
    """Return a reading's or command's name; ValueError when it cannot be a level of a topic."""
    if not 1 <= len(name) <= NAME_LIMIT or any(c not in _NAME_CHARACTERS for c in name):
        raise ValueError("cannot use name %r: 1 to 64 of A-Z a-z 0-9 . _ -" % name)
    return name


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
    if isinstance(value, float) and (value != value or value - value != 0):
        raise ValueError("cannot publish %s: not a finite number" % value)
    reading = {"value": value, "seq": seq}
    if unit is not None:
        reading["unit"] = unit
    if at is not None:
        reading["at"] = at
    return json.dumps(reading).encode()


def decode_command(payload):
    """Return (command id, arguments) of a command."""
    args = _json_object(payload, "command")
    return args.pop("id", None), args


def encode_reply(command_id, result):
    """Return the answer to a successful command; an object's fields become the reply's."""
    reply = {}
    if isinstance(result, dict):
        reply.update(result)
    elif result is not None:
        reply["value"] = result
    reply["id"] = command_id
    reply["ok"] = True
    return json.dumps(reply).encode()


def encode_failure(command_id, error):
    """Return the answer to a command that failed."""
    return json.dumps({"id": command_id, "ok": False, "error": error}).encode()


def _json_object(payload, what):
    try:
        value = json.loads(payload)
    except ValueError:
        raise WireError("cannot read %s: not JSON" % what)
    if not isinstance(value, dict):
        raise WireError("cannot read %s: not a JSON object" % what)
    return value
