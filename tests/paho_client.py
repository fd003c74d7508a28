"""Wraps paho-mqtt in calls that wait for the answer."""

import queue
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from tests.programs import PATIENCE

WAIT_S = 10.0 * PATIENCE
V4, V5 = MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5


def properties_for(packet_type: int, **values: Any) -> Any:
    """Return paho's properties, which know their fields only at run time."""
    properties = Properties(packet_type)  # type: ignore[no-untyped-call]  # paho's
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


class Paho:
    """One client; messages are queued, answers are waited for."""

    def __init__(
        self, client_id: str, version: MQTTProtocolVersion, *, clean: bool = True, **options: Any
    ) -> None:
        self.version = version
        kept = {} if version == V5 else {"clean_session": clean}
        transport = options.pop("transport", "tcp")
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            protocol=version,
            transport=transport,
            reconnect_on_failure=False,
            **kept,
        )
        self.clean = clean
        self.expiry_s = options.pop("expiry_s", None)
        self.messages: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self.connack: queue.Queue[tuple[bool, ReasonCode, Any]] = queue.Queue()
        self.gone: queue.Queue[ReasonCode] = queue.Queue()
        self._answers: dict[int, list[ReasonCode]] = {}
        self._answered = threading.Condition()
        self.client.on_message = lambda _, __, message: self.messages.put(message)
        self.client.on_connect = lambda _, __, flags, reason, properties: self.connack.put(
            (flags.session_present, reason, properties)
        )
        self.client.on_disconnect = lambda _, __, ___, reason, ____: self.gone.put(reason)
        self.client.on_subscribe = self._on_answer
        self.client.on_unsubscribe = self._on_answer
        self.client.on_publish = lambda client, data, mid, reason, properties: self._on_answer(
            client, data, mid, [reason], properties
        )

    def connect(
        self, host: str | Path, port: int = 0, keep_alive_s: int = 60
    ) -> tuple[bool, ReasonCode, Any]:
        """Connect; return whether the session was present, the reason and the properties."""
        options: dict[str, Any] = {}
        if self.version == V5:
            options["clean_start"] = self.clean
            if self.expiry_s is not None:
                options["properties"] = properties_for(
                    PacketTypes.CONNECT, SessionExpiryInterval=self.expiry_s
                )
        self.client.connect(str(host), port or 1883, keepalive=keep_alive_s, **options)
        self.client.loop_start()
        return self.connack.get(timeout=WAIT_S)

    def subscribe(self, topic_filter: str, qos: int = 0, **options: Any) -> ReasonCode:
        mid = self.client.subscribe(topic_filter, qos, **options)[1]
        assert mid is not None
        return self.answer(mid)[0]

    def publish(self, topic: str, payload: bytes, qos: int = 0, **options: Any) -> ReasonCode:
        """Publish and wait for the PUBACK."""
        info = self.client.publish(topic, payload, qos, **options)
        return self.answer(info.mid)[0]

    def take(self, timeout_s: float = WAIT_S) -> paho.MQTTMessage:
        return self.messages.get(timeout=timeout_s)

    def answer(self, mid: int) -> list[ReasonCode]:
        with self._answered:
            assert self._answered.wait_for(lambda: mid in self._answers, WAIT_S)
            return self._answers.pop(mid)

    def close(self) -> None:
        self.client.disconnect()
        self.kill()

    def kill(self) -> None:
        """Lose the connection without a DISCONNECT."""
        self.client.loop_stop()
        # paho leaves the socket pair of its thread to the garbage collector, which warns
        self.client._reset_sockets()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _on_answer(self, _: Any, __: Any, mid: int, reasons: Any, ___: Any) -> None:
        with self._answered:
            self._answers[mid] = list(reasons)
            self._answered.notify_all()
