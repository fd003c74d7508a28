"""paho-mqtt as tests of the gateway and the cloud use it: a client that remembers."""

import json
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.programs import until

if TYPE_CHECKING:
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode


class Mqtt:
    """A paho client that remembers what it was told; a context that disconnects it."""

    def __init__(
        self,
        port: int,
        username: str | None = None,
        password: str | None = None,
        client_id: str = "peer",
        version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5,
        *,
        clean_start: bool = True,
        properties: "Properties | None" = None,
        keep_alive_s: int = 60,
    ) -> None:
        self.messages: list[paho.MQTTMessage] = []
        self.reason: ReasonCode | None = None
        self.session_present = False
        self.lost = threading.Event()
        self._granted: dict[int, list[ReasonCode]] = {}
        self._acknowledged: dict[int, ReasonCode] = {}
        is_five = version is MQTTProtocolVersion.MQTTv5
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=None if is_five else clean_start,
            protocol=version,
            reconnect_on_failure=False,
        )
        if username is not None:
            self.client.username_pw_set(username, password)
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = lambda *_: self.lost.set()
        self.client.on_message = lambda *a: self.messages.append(a[2])
        self.client.on_subscribe = self._on_subscribe
        self.client.on_publish = self._on_publish
        start = clean_start if is_five else paho.MQTT_CLEAN_START_FIRST_ONLY
        self.client.connect(
            "127.0.0.1", port, keep_alive_s, clean_start=start, properties=properties
        )
        self.client.loop_start()
        until(lambda: self.reason is not None, "CONNACK")

    @property
    def is_in(self) -> bool:
        """Whether the broker let it in."""
        return self.reason is not None and not self.reason.is_failure

    def subscribe(self, topic_filter: str) -> bool:
        """Subscribe at QoS 1; return whether that was granted."""
        _, packet_id = self.client.subscribe(topic_filter, qos=1)
        assert packet_id is not None
        until(lambda: packet_id in self._granted, "SUBACK")
        return not self._granted[packet_id][0].is_failure

    def publish(self, topic: str, payload: Any, qos: int = 1, *, retain: bool = False) -> bool:
        """Publish text, bytes, or else JSON; return whether it was accepted."""
        body = payload if isinstance(payload, str | bytes) else json.dumps(payload)
        packet_id = self.client.publish(topic, body, qos, retain).mid
        until(lambda: packet_id in self._acknowledged, "PUBACK")
        return not self._acknowledged[packet_id].is_failure

    def payloads(self, topic: str = "") -> list[Any]:
        """Return what came on a topic, as JSON where it is."""
        return [_read(bytes(m.payload)) for m in list(self.messages) if topic in ("", m.topic)]

    def close(self) -> None:
        """Disconnect."""
        self.client.disconnect()
        self.client.loop_stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _on_connect(self, *arguments: Any) -> None:
        self.session_present = arguments[2].session_present
        self.reason = arguments[3]

    def _on_subscribe(self, *arguments: Any) -> None:
        self._granted[arguments[2]] = arguments[3]

    def _on_publish(self, *arguments: Any) -> None:
        self._acknowledged[arguments[2]] = arguments[3]


def kept_for(seconds: int) -> "Properties":
    """Return the properties of a CONNECT whose session outlives its connection."""
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = seconds
    return properties


def _read(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except ValueError:
        return payload
