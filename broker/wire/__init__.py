"""Encodes and decodes MQTT packets: 3.1, 3.1.1 and 5, all fifteen packets, all properties."""

from broker.wire.codec import decode_body, decode_packet, encode_packet, measure_packet
from broker.wire.connecting import peek_version
from broker.wire.fields import FieldReader, decode_length, encode_length
from broker.wire.publishing import (
    decode_message_properties,
    encode_message_properties,
    encode_publish_parts,
    publish_flags,
    read_topic,
)

__all__ = [
    "FieldReader",
    "decode_body",
    "decode_length",
    "decode_message_properties",
    "decode_packet",
    "encode_length",
    "encode_message_properties",
    "encode_packet",
    "encode_publish_parts",
    "measure_packet",
    "peek_version",
    "publish_flags",
    "read_topic",
]
