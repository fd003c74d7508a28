"""Holds the message that the running code handles, for what it publishes meanwhile."""

from contextvars import ContextVar

from microservice.mqtt.dead_letters import HOPS, find_pair
from microservice.mqtt.wire import NO_PROPERTIES, Incoming, MessageProperties, Pairs

current_message: ContextVar[Incoming | None] = ContextVar("current_message", default=None)


def inherited_pairs() -> Pairs:
    """Return the user properties that a message published now inherits.

    The count of containers that the handled message came through goes on with it, so that the
    gateway can cut chains without an end. The gateway checks it.
    """
    message = current_message.get()
    if message is None or message.properties is NO_PROPERTIES:
        return ()
    hops = find_pair(message.properties.user, HOPS)
    return ((HOPS, hops),) if hops else ()


def with_inherited(properties: MessageProperties) -> MessageProperties:
    """Return the properties of a message with those that it inherits."""
    pairs = inherited_pairs()
    if not pairs:
        return properties
    own = tuple(each for each in properties.user if each[0] != HOPS)
    return MessageProperties(
        own + pairs,
        properties.content_type,
        properties.response_topic,
        properties.correlation,
        properties.expiry_s,
    )
