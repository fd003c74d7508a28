"""Matches the responses of MQTT 5 (4.10) with the requests that wait for them.

Each container has one response topic, `responses/<container id>`, that it alone may read. The
correlation data of a request is a random number, so that nobody else can answer it.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import replace

from microservice.errors import PublishError
from microservice.mqtt.wire import Incoming, MessageProperties

RESPONSES = "responses/+"  # any container may publish there; its manifest need not name it
WAITING_LIMIT = 256
CORRELATION_BYTES = 16


def response_topic(container_id: str) -> str:
    """Return the topic of the responses to a container."""
    return f"responses/{container_id}"


class PendingRequests:
    """The requests of one process that wait for their responses."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self._waiting: dict[bytes, asyncio.Future[Incoming]] = {}

    @contextlib.contextmanager
    def begin(
        self, properties: MessageProperties
    ) -> Iterator[tuple[MessageProperties, asyncio.Future[Incoming]]]:
        """Yield the properties of a new request, and its response to come; then forget it."""
        if len(self._waiting) >= WAITING_LIMIT:
            raise PublishError(f"cannot request: {WAITING_LIMIT} requests wait already")
        correlation = secrets.token_bytes(CORRELATION_BYTES)
        response = self._waiting[correlation] = asyncio.get_running_loop().create_future()
        try:
            yield (
                replace(properties, response_topic=self.topic, correlation=correlation),
                response,
            )
        finally:
            del self._waiting[correlation]

    def arrived(self, message: Incoming) -> bool:
        """Take a message; return whether it came on the response topic."""
        if message.topic != self.topic:
            return False
        response = self._waiting.get(message.properties.correlation)
        if response is not None and not response.done():
            response.set_result(message)
        return True
