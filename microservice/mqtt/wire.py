"""Defines the properties of MQTT 5 that travel with a message."""

from dataclasses import dataclass

Pairs = tuple[tuple[str, str], ...]  # a name may occur several times


@dataclass(frozen=True, slots=True)
class MessageProperties:
    """The properties that travel with a message."""

    user: Pairs = ()
    content_type: str = ""
    response_topic: str = ""
    correlation: bytes = b""
    expiry_s: int | None = None  # the broker drops a message that waited for so long


NO_PROPERTIES = MessageProperties()
