"""Encodes the MQTT 3.1.1 packets that begin a connection. Pure; loaded to connect."""

from micropython import const

REFUSALS = {  # CONNACK return codes, MQTT 3.1.1 table 3.1
    1: "it does not speak MQTT 3.1.1",
    2: "it does not like the client id",
    3: "it is not available",
    4: "bad user name or password",
    5: "not authorised",
}

_TEXT_LIMIT = const(65535)


def encode_connect(client_id, login, keepalive_s, clean_session, will):
    """Return CONNECT; login is (user name, password) or None, will is (topic, payload) or None."""
    flags = 0x02 if clean_session else 0
    body = _text(client_id)
    if will is not None:
        flags |= 0x2C  # will flag, will QoS 1, will retain
        body += _text(will[0]) + _text(will[1])
    if login is not None:
        flags |= 0xC0
        body += _text(login[0]) + _text(login[1])
    return _packet(0x10, b"\x00\x04MQTT\x04" + bytes((flags,)) + _two(keepalive_s) + body)


def encode_subscribe(packet_id, *topic_filters):
    """Return SUBSCRIBE of filters at QoS 1."""
    body = _two(packet_id)
    for topic_filter in topic_filters:
        body += _text(topic_filter) + b"\x01"
    return _packet(0x82, body)  # [MQTT-3.8.1-1]


def _packet(first, body):
    length = len(body)
    head = bytes((first,))
    while length > 0x7F:
        head += bytes((length & 0x7F | 0x80,))
        length >>= 7
    return head + bytes((length,)) + body


def _text(text):
    encoded = text if isinstance(text, bytes) else text.encode()
    if len(encoded) > _TEXT_LIMIT:
        raise ValueError("cannot encode text: %d bytes are too many" % len(encoded))
    return _two(len(encoded)) + encoded


def _two(value):
    return bytes((value >> 8, value & 0xFF))
