"""Reads the end of a connection at its client, and makes packets by hand."""

from broker.wire import encode_length
from broker.wire.packets import MQTT_5, Disconnect
from broker.wire.reasons import Reason
from tests.unit.broker.rig import Peer


def reason_of(client: Peer) -> Reason | None:
    """Return why a client was closed: the last it was sent; None before MQTT 5."""
    assert client.closed
    answers = client.take()
    if client.version < MQTT_5:
        assert answers == []
        return None
    (packet,) = answers
    assert isinstance(packet, Disconnect)
    return packet.reason


def why(client: Peer, reason: Reason) -> Reason | None:
    """Return what reason_of() should return."""
    return reason if client.version == MQTT_5 else None


def raw(first: int, body: bytes = b"") -> bytes:
    """Return a packet of any bytes."""
    return bytes((first,)) + encode_length(len(body)) + body


def string(text: bytes) -> bytes:
    """Return bytes behind their length."""
    return len(text).to_bytes(2, "big") + text


def empty(version: int) -> bytes:
    """Return no properties, where there could be some."""
    return b"\x00" if version == MQTT_5 else b""
