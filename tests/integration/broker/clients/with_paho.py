"""paho-mqtt, 3.1.1 and 5."""

from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes

from tests.integration.broker.clients.peer import EXPIRY_S, WAIT_S, Got, Opening
from tests.paho_client import V5, Paho, properties_for


class PahoPeer:
    """Wraps the waiting client of the broker's own tests."""

    def __init__(self, opening: Opening, version: MQTTProtocolVersion) -> None:
        kept = {"expiry_s": EXPIRY_S} if opening.stored else {}
        self._five = version == V5
        self._paho = Paho(opening.client_id, version, clean=not opening.stored, **kept)
        if opening.will is not None:
            topic, payload = opening.will
            self._paho.client.will_set(topic, payload, qos=1)
        _, reason, _ = self._paho.connect("127.0.0.1", opening.port)
        assert not reason.is_failure

    def subscribe(self, topic_filter: str, qos: int) -> int:
        return self._paho.subscribe(topic_filter, qos).value

    def publish(self, message: Got) -> None:
        options: dict[str, Any] = {"retain": message.retain}
        if message.response_topic is not None or message.correlation is not None:
            options["properties"] = publish_properties(message)
        self._paho.publish(message.topic, message.payload, message.qos, **options)

    def take(self) -> Got:
        return read(self._paho.take(WAIT_S))

    def close(self) -> None:
        self._paho.close()


def publish_properties(message: Got) -> Any:
    """Return paho's properties for a request or a reply."""
    values: dict[str, Any] = {}
    if message.response_topic is not None:
        values["ResponseTopic"] = message.response_topic
    if message.correlation is not None:
        values["CorrelationData"] = message.correlation
    return properties_for(PacketTypes.PUBLISH, **values)


def read(message: paho.MQTTMessage | Any) -> Got:
    """Return what paho, or a library on top of it, was sent."""
    sent = message.properties
    return Got(
        str(message.topic),
        bytes(message.payload),
        message.qos,
        bool(message.retain),
        getattr(sent, "ResponseTopic", None),
        getattr(sent, "CorrelationData", None),
    )
