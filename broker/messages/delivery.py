"""Encodes a message once for each kind of receiver."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Protocol

from broker.wire import encode_publish_parts, publish_flags
from broker.wire.packets import MQTT_5

if TYPE_CHECKING:
    from broker.journal.records import QueueEntry
    from broker.messages.message import Message
    from broker.wire.packets import Subscription
    from broker.wire.raw_publish import Parts


class DeliveryGroup(Protocol):
    """The shared subscription through which a message is delivered."""

    @property
    def is_empty(self) -> bool:
        """True when it has no member."""

    def deliver(self, encoder: Encoder, subscription: Subscription, now: float) -> None:
        """Give a message to one member."""


ROUNDING_S = 0.001  # instants from the store have lost some digits


@dataclass(slots=True)  # speed: a frozen one takes three times as long to make
class Delivery:
    """A QoS 1 or 2 message for one client; never changed."""

    message: Message
    retain: bool = False
    identifiers: tuple[int, ...] = ()
    qos: int = 1  # of the delivery
    group: DeliveryGroup | None = None  # of a shared subscription
    message_id: int = 0  # in the store; 0: it is in no store


def remaining_life(expires_at: float, now: float) -> int:
    """Return the rest of a message's life in whole seconds; it never grows."""
    return max(ceil(expires_at - now - ROUNDING_S), 0)


def encode_delivery(delivery: Delivery, version: int) -> Parts:
    """Return the packet of a message that does not expire, in parts."""
    message, properties = delivery.message, delivery.message.properties
    if delivery.identifiers and version == MQTT_5:
        properties = replace(properties, subscription_identifiers=delivery.identifiers)
    first = publish_flags(delivery.qos, retain=delivery.retain)
    return encode_publish_parts(first, message.topic, message.payload, properties, version)


class Encoder:
    """Encodes one message; receivers of the same kind share the bytes."""

    __slots__ = ("_made", "_now", "entries", "message", "message_id")

    def __init__(self, message: Message, now: float, message_id: int = 0) -> None:
        self.message = message
        self.message_id = message_id  # for stored sessions
        self.entries: list[QueueEntry] = []  # of sessions that took it
        self._now = now
        self._made: dict[tuple[int, int, tuple[int, ...]], Parts] = {}

    def parts(self, version: int, qos: int, *, retain: bool, identifiers: tuple[int, ...]) -> Parts:
        """Return the bytes before and behind the packet id, which QoS 0 does not have."""
        first = publish_flags(qos, retain=retain)  # [MQTT-3.3.1-3] [MQTT-4.3.1-1]
        kind = (version, first, identifiers)
        made = self._made.get(kind)
        if made is None:
            made = self._made[kind] = self._encode(version, first, identifiers)
        return made

    def _encode(self, version: int, first: int, identifiers: tuple[int, ...]) -> Parts:
        message = self.message
        properties = message.properties
        if version == MQTT_5 and (identifiers or message.expires_at is not None):
            left_s = None
            if message.expires_at is not None:
                left_s = remaining_life(message.expires_at, self._now)  # [MQTT-3.3.2-6]
            properties = replace(
                properties,
                subscription_identifiers=identifiers,  # [MQTT-3.3.4-3]
                message_expiry_s=left_s,
            )
        return encode_publish_parts(first, message.topic, message.payload, properties, version)
