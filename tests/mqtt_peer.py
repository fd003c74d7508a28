"""Wraps paho-mqtt for tests of gateway and cloud: it connects at once and keeps all messages."""

import json
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from paho.mqtt.enums import MQTTProtocolVersion

from tests.paho_client import V5, Paho

if TYPE_CHECKING:
    import ssl

    from paho.mqtt.client import MQTTMessage


class Mqtt:
    """A connected client with its messages; a context that disconnects it."""

    def __init__(
        self,
        port: int,
        username: str | None = None,
        password: str | None = None,
        client_id: str = "peer",
        version: MQTTProtocolVersion = V5,
        *,
        tls: "ssl.SSLContext | None" = None,
        clean_start: bool = True,
        expiry_s: int | None = None,
        keep_alive_s: int = 60,
        host: str = "127.0.0.1",
    ) -> None:
        self.messages: list[MQTTMessage] = []
        self.lost = threading.Event()
        self._paho = Paho(client_id, version, clean=clean_start, expiry_s=expiry_s)
        self.client = self._paho.client
        if username is not None:
            self.client.username_pw_set(username, password)
        if tls is not None:
            self.client.tls_set_context(tls)
        self.client.on_disconnect = lambda *_: self.lost.set()
        self.client.on_message = lambda *a: self.messages.append(a[2])
        try:
            self.session_present, self.reason, _ = self._paho.connect(host, port, keep_alive_s)
        except BaseException:
            self._paho.kill()
            raise

    @property
    def is_in(self) -> bool:
        """True if the broker has accepted the connection."""
        return not self.reason.is_failure

    def subscribe(self, topic_filter: str) -> bool:
        """Subscribe at QoS 1; return whether that was granted."""
        return not self._paho.subscribe(topic_filter, 1).is_failure

    def publish(self, topic: str, payload: Any, qos: int = 1, *, retain: bool = False) -> bool:
        """Publish text, bytes, or else JSON; return whether it was accepted."""
        body = payload if isinstance(payload, str | bytes) else json.dumps(payload)
        octets = body.encode() if isinstance(body, str) else body
        return not self._paho.publish(topic, octets, qos, retain=retain).is_failure

    def payloads(self, topic: str = "") -> list[Any]:
        """Return the payloads that arrived on a topic, as JSON where they are."""
        return [_read(bytes(m.payload)) for m in list(self.messages) if topic in ("", m.topic)]

    def close(self) -> None:
        """Disconnect."""
        self._paho.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _read(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except ValueError:
        return payload
