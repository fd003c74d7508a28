"""Converts the properties of messages from and to those of the MQTT client."""

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from microservice.mqtt.wire import MessageProperties


def from_client(properties: Properties | None) -> MessageProperties:
    """Return the properties of a message that arrived."""
    if properties is None or properties.isEmpty():  # type: ignore[no-untyped-call]  # paho
        return MessageProperties()
    return MessageProperties(
        tuple(getattr(properties, "UserProperty", ())),
        getattr(properties, "ContentType", ""),
        getattr(properties, "ResponseTopic", ""),
        bytes(getattr(properties, "CorrelationData", b"")),
        getattr(properties, "MessageExpiryInterval", None),
    )


def to_client(properties: MessageProperties) -> Properties | None:
    """Return the properties of a message to publish; None when it has none."""
    if properties == MessageProperties():
        return None
    made = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho
    if properties.content_type:
        made.ContentType = properties.content_type
    if properties.response_topic:
        made.ResponseTopic = properties.response_topic
    if properties.correlation:
        made.CorrelationData = properties.correlation
    if properties.user:
        made.UserProperty = list(properties.user)
    if properties.expiry_s is not None:
        made.MessageExpiryInterval = properties.expiry_s
    return made
