"""Defines the topics and payloads that a device shares with its gateway. Pure.

tests/vectors/device_contract.json holds this file, contract_commands.py and the gateway's side
together.
"""

import io
import json

from micropython import const

PACKET_LIMIT = 4096  # a larger command is answered with an error, a larger reading refused
NAME_LIMIT = 64

_HEAD_BYTES = const(96)  # of a PUBLISH: fixed header, packet id, the device's prefix
_NESTING = const(8)  # of what a device sends; json.dumps() recurses in C


def is_name(name):
    """Return whether a name can be a level of a topic."""
    for c in name:
        if not ("a" <= c <= "z" or "A" <= c <= "Z" or "0" <= c <= "9" or c in "._-"):
            return False
    return 1 <= len(name) <= NAME_LIMIT


def check_name(name):
    """Return a reading's or command's name; ValueError when it cannot be a level of a topic."""
    if not is_name(name):
        raise ValueError("cannot use name %r: 1 to 64 of A-Z a-z 0-9 . _ -" % name[:NAME_LIMIT])
    return name


def command_name(prefix, topic):
    """Return the command in a topic, or None when it holds none."""
    start = prefix + "/commands/"
    name = topic[len(start) :]
    return name if topic.startswith(start) and "/" not in name else None


def encode_reading(value, unit, at, seq):
    """Return a reading; unit and at (unix seconds) may be None and are then absent."""
    reading = b'{"value": ' + encode_json(value) + b', "seq": %d' % seq
    if unit is not None:
        reading += b', "unit": ' + encode_json(unit)
    reading += b"}"
    return reading if at is None else dated(reading, at)


def dated(reading, at):
    """Return an encoded reading with its time, which it did not have."""
    return reading[:-1] + b', "at": %d}' % at


def check_size(path, payload):
    """Raise ValueError for a message that does not fit into one packet."""
    size = len(path) + len(payload) + _HEAD_BYTES
    if size > PACKET_LIMIT:
        raise ValueError("cannot publish: %d bytes are more than %d" % (size, PACKET_LIMIT))


def encode_json(value):
    """Return JSON; ValueError for what is not JSON: MicroPython writes nan and set() as they are."""
    check_json(value, _NESTING)
    buffer = io.BytesIO()
    try:
        json.dump(value, buffer)  # without the copies of a large text that dumps() and encode() make
        encoded = buffer.getvalue()
    except TypeError:  # CPython's json writes text
        encoded = json.dumps(value).encode()
    if has_surrogates(encoded):
        raise ValueError("cannot send text: half a surrogate pair is not UTF-8")
    return encoded


def check_json(value, nesting):
    """Raise ValueError unless a value is JSON."""
    if value is None or isinstance(value, (bool, int, str)):  # MicroPython's bool is no int
        return
    if isinstance(value, float):
        if value - value != 0:  # neither inf nor nan is 0 then
            raise ValueError("cannot send %s: not a finite number" % value)
    elif not isinstance(value, (list, tuple, dict)):
        raise ValueError("cannot send %s: not a JSON type" % type(value).__name__)
    elif not nesting:
        raise ValueError("cannot send: nested more than %d deep" % _NESTING)
    else:
        for item in value:
            check_json(item, nesting - 1)
            if isinstance(value, dict):
                if not isinstance(item, str):
                    raise ValueError("cannot send object: a key is not a text")
                check_json(value[item], nesting - 1)


def has_surrogates(encoded):
    """Return whether there is U+D800 to U+DFFF in UTF-8, which MicroPython writes though."""
    at = encoded.find(b"\xed")
    while at >= 0:
        if encoded[at + 1] >= 0xA0:
            return True
        at = encoded.find(b"\xed", at + 1)
    return False
