"""Sends one message to a microservice by the gateway's broker, and tells what became of it.

The message asks for a response (MQTT 5, 4.10), which a handler of the kit gives by returning a
value. Without one, the counters of the microservice tell whether a message has been handled.
"""

import asyncio
import contextlib
import secrets
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from gateway.cli.client.sidecar import SidecarClient, is_loopback
from gateway.cli.client.target import Target
from gateway.cli.errors import CliError, OptionError
from gateway.cli.output import console, notes, print_json
from gateway.cli.services.containers import CONTAINERS, find_container
from settings.secret import Secret

USER = "api"  # the gateway's broker takes its API key as this user's password
RESPONSES = "responses"  # containers may publish one level below it
ANSWER_S = 10.0
HANDLED_S = 10.0  # then a handler is slow; it may still end well
POLL_S = 0.1
TOPIC_BYTES = 65_535  # MQTT 5, 1.5.4
NO_MATCHING_SUBSCRIBERS = 0x10  # MQTT 5, 3.4.2.1
HANDLED, TRIED_AGAIN = "handled", "its handler failed, and is tried again"
_EVERYWHERE = ("0.0.0.0", "::", "[::]")  # noqa: S104  # compared, not bound


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to publish."""

    topic: str
    payload: bytes

    def check(self) -> None:
        """Refuse a topic to which nobody can publish (MQTT 5, 4.7)."""
        size = len(self.topic.encode("utf-8", "surrogatepass"))
        if (
            not 1 <= size <= TOPIC_BYTES
            or not self.topic.isprintable()
            or set(self.topic) & {*"+#"}
        ):
            raise OptionError(
                f"cannot publish to {self.topic[:80]!r}: it is no topic of a message, such as "
                "devices/kitchen/readings/t, which has no + and no #"
            )


class MqttRequest:
    """One connection that sends one message and waits for its response; use as a context."""

    def __init__(self, address: tuple[str, int], password: Secret, message: Outgoing) -> None:
        self.response: bytes | None = None
        self.refused = ""
        self.acknowledged: int | None = None  # the reason code of the PUBACK
        self._address, self._message = address, message
        self._correlation = secrets.token_bytes(8)
        self._topic = f"{RESPONSES}/hecate-{secrets.token_hex(6)}"
        client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        client.username_pw_set(USER, password.reveal())
        client.on_connect, client.on_subscribe = self._connected, self._subscribed
        client.on_publish, client.on_message = self._published, self._arrived
        self._client = client

    def __enter__(self) -> Self:
        where = f"{self._address[0]}:{self._address[1]}"
        try:
            self._client.connect(*self._address)
        except (OSError, ValueError) as exc:
            raise CliError(f"cannot publish to {self._message.topic}: {where}: {exc}") from exc
        self._client.loop_start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._client.disconnect()
        self._client.loop_stop()

    def wait_acknowledged(self) -> bool:
        """Return whether somebody subscribes to the topic, when the broker has the message."""
        deadline = time.monotonic() + ANSWER_S
        while self.acknowledged is None and not self.refused:
            if time.monotonic() > deadline:
                self.refused = "it does not answer in MQTT"
            time.sleep(0.005)
        if self.refused:
            where = f"{self._address[0]}:{self._address[1]}"
            raise CliError(
                f"cannot publish to {self._message.topic} at {where}: {self.refused.lower()}"
            )
        return self.acknowledged != NO_MATCHING_SUBSCRIBERS

    def _connected(
        self, _: Client, __: Any, ___: ConnectFlags, code: ReasonCode, ____: Properties | None
    ) -> None:
        if code.is_failure:
            self.refused = str(code)
        else:
            self._client.subscribe(self._topic, qos=1)

    def _subscribed(
        self, _: Client, __: Any, ___: int, ____: list[ReasonCode], _____: Properties | None
    ) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ResponseTopic = self._topic
        properties.CorrelationData = self._correlation
        self._client.publish(
            self._message.topic, self._message.payload, qos=1, properties=properties
        )

    def _published(
        self, _: Client, __: Any, ___: int, code: ReasonCode, ____: Properties | None
    ) -> None:
        if code.is_failure:
            self.refused = str(code)
        self.acknowledged = code.value

    def _arrived(self, _: Client, __: Any, message: MQTTMessage) -> None:
        if getattr(message.properties, "CorrelationData", None) == self._correlation:
            self.response = bytes(message.payload)


async def invoke_by_mqtt(target: Target, name: str, message: Outgoing, *, as_json: bool) -> int:
    """Publish a message and wait until the microservice has handled it; return the exit code."""
    message.check()
    async with SidecarClient(target) as sidecar:
        before = await find_container(sidecar, name)
        status = await sidecar.call("find the broker", "GET", "/status/v1")
        address = broker_address(status, target.url)
        with MqttRequest(address, target.key, message) as request:
            if not await asyncio.to_thread(request.wait_acknowledged):
                raise CliError(
                    f"cannot invoke {name}: nobody subscribes to {message.topic}; see its handlers "
                    "and [mqtt] subscribe in microservice.toml"
                )
            outcome = await _wait_handled(sidecar, name, before, request)
    if as_json:
        response = request.response.decode(errors="replace") if request.response else None
        print_json({"topic": message.topic, "outcome": outcome, "response": response})
    else:
        _report(name, outcome, request.response)
    return 0 if outcome == HANDLED else 1


def broker_address(status: Mapping[str, Any], url: str) -> tuple[str, int]:
    """Return the broker's address as this machine reaches it; CliError when it does not."""
    api_host = urlsplit(url).hostname or "127.0.0.1"
    listeners = (status.get("broker") or {}).get("listeners") or []
    for listener in listeners:
        host, _, port = str(listener).rpartition(":")
        if host in _EVERYWHERE:
            return api_host, int(port)
        if is_loopback(url) or not is_loopback(f"mqtt://{listener}"):
            return host.strip("[]"), int(port)
    where = ", ".join(str(listener) for listener in listeners) or "no TCP port"
    raise CliError(
        f"cannot reach the broker from here: it listens at {where} of its own machine; "
        "[broker] host in gateway.toml opens it to the network"
    )


async def _wait_handled(
    sidecar: SidecarClient, name: str, before: Mapping[str, Any], request: MqttRequest
) -> str:
    """Return what became of the message: by its response, else by the counters."""
    path = f"{CONTAINERS}/{before['id']}"
    deadline, is_retried = time.monotonic() + HANDLED_S, False
    while time.monotonic() < deadline:
        if request.response is not None:
            return HANDLED
        now = await sidecar.call(f"invoke {name}", "GET", path)
        for key, outcome in (("failed", "its handler failed"), ("dropped", "it was dropped")):
            if now.get(key, 0) > before.get(key, 0):
                return outcome
        is_retried = now.get("retried", 0) > before.get("retried", 0)
        # of several handlers one may be done while the next one is tried again
        if now.get("handled", 0) > before.get("handled", 0) and not is_retried:
            return HANDLED
        await asyncio.sleep(POLL_S)
    return TRIED_AGAIN if is_retried else f"not handled within {HANDLED_S:g} s"


def _report(name: str, outcome: str, response: bytes | None) -> None:
    if response is not None:
        sys.stdout.buffer.write(response)
        if sys.stdout.isatty() and not response.endswith(b"\n"):
            sys.stdout.buffer.write(b"\n")
        sys.stdout.flush()
    elif outcome == HANDLED:
        console().print(f"{name} handled it", soft_wrap=True)
    else:
        console().print(f"{name}: {outcome}", soft_wrap=True)
        notes().print(f"`hecate logs {name}` may say why", style="dim", soft_wrap=True)
