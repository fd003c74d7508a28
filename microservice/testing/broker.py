"""Stands for the broker in the tests of a service."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from microservice.errors import MicroserviceError, PublishError, RequestTimeoutError
from microservice.message import Message, encode_payload
from microservice.mqtt import dead_letters as names
from microservice.mqtt.rights import TopicRights
from microservice.mqtt.texts import check_topic
from microservice.mqtt.wire import MessageProperties


@dataclass(frozen=True, slots=True, eq=False)
class PublishedMessage:
    """A message that the service has published; equals the tuple (topic, value)."""

    topic: str
    value: Any  # of JSON; text, or bytes, where it is none
    qos: int = 1
    retain: bool = False
    properties: MessageProperties = field(default_factory=MessageProperties)

    __hash__ = None  # type: ignore[assignment]  # a value of JSON has none

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PublishedMessage):
            return (self.topic, self.value) == (other.topic, other.value)
        return (self.topic, self.value) == other


@dataclass(frozen=True, slots=True)
class DeadMessage:
    """A message that no try could handle."""

    topic: str
    value: Any
    error: str
    tries: int


class TestBroker:
    """Keeps what the service publishes, and answers its requests."""

    __test__ = False  # it is no test of pytest

    def __init__(self, rights: TopicRights | None = None) -> None:
        self._rights = rights  # None: every topic is allowed
        self.published: list[PublishedMessage] = []
        self.responses: dict[str, Any] = {}
        self.dead_letters: list[DeadMessage] = []
        self._unacknowledged: dict[int, asyncio.Event] = {}

    async def publish(
        self, topic: str, payload: bytes, qos: int, retain: bool, properties: MessageProperties
    ) -> None:
        """Keep a message; PublishError for what is no topic, or one that is not allowed."""
        check_topic(topic)
        if self._rights is not None and not self._rights.allow(topic):
            raise PublishError(
                f"cannot publish to {topic}: not in [mqtt] publish of microservice.toml"
            )
        self.published.append(PublishedMessage(topic, _value_of(payload), qos, retain, properties))

    async def publish_dead_letter(self, payload: bytes, properties: MessageProperties) -> None:
        """Keep a message that no try could handle."""
        topic, error, tries = (
            names.find_pair(properties.user, name)
            for name in (names.TOPIC, names.ERROR, names.TRIES)
        )
        self.dead_letters.append(DeadMessage(topic, _value_of(payload), error, int(tries)))

    def expect_acknowledgement(self) -> tuple[int, asyncio.Event]:
        """Return the packet id of a new message, and the event of its acknowledgement."""
        packet_id, event = len(self._unacknowledged) + 1, asyncio.Event()
        self._unacknowledged[packet_id] = event
        return packet_id, event

    def acknowledge(self, packet_ids: Sequence[int]) -> None:
        """Note that messages are handled."""
        for packet_id in packet_ids:
            self._unacknowledged[packet_id].set()

    def give_up(self, why: str) -> None:
        """Fail the test: in production the process ends."""
        raise MicroserviceError(why)

    async def request(
        self, topic: str, payload: bytes, properties: MessageProperties, timeout_s: float
    ) -> Message:
        """Keep a message, and return the response that the test has given for its topic."""
        await self.publish(topic, payload, 1, False, properties)
        if topic not in self.responses:
            raise RequestTimeoutError(
                f"cannot request {topic}: no response within {timeout_s:g} s; "
                "t.respond(topic, value) gives one"
            )
        return Message("responses/test", encode_payload(self.responses[topic]))


def _value_of(payload: bytes) -> Any:
    """Return the value of a payload, as a test compares it: of JSON, else text, else bytes."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return payload
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
