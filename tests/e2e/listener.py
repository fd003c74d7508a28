"""Listens at a broker for JSON messages, with paho-mqtt."""

import base64
import json
from collections.abc import Iterator
from typing import Any

from tests.mqtt_peer import Mqtt
from tests.programs import until


class Listener(Mqtt):
    """A client of one subscription that reads its messages one by one."""

    def __init__(
        self, port: int, topic: str, username: str | None = None, password: str | None = None
    ) -> None:
        super().__init__(port, username, password, client_id="")
        assert self.is_in, self.reason
        self._read = 0
        assert self.subscribe(topic)

    def unread(self) -> Iterator[tuple[str, bytes]]:
        """Yield topic and payload of each message that has arrived and was not read."""
        while self._read < len(self.messages):
            message = self.messages[self._read]
            self._read += 1
            yield message.topic, bytes(message.payload)

    def wait_for(self, topic_part: str) -> dict[str, Any]:
        """Return the next message on a topic that holds the part."""
        return until(lambda: self._next(topic_part), f"a message on a topic with {topic_part}")

    def _next(self, topic_part: str) -> dict[str, Any]:
        for topic, payload in self.unread():
            if topic_part in topic:
                value: dict[str, Any] = json.loads(payload)
                return value
        return {}


def account_of(token: str) -> str:
    """Return the account in an access token, as a client may read it."""
    body = token.split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["sub"])
