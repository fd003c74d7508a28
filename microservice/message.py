"""Holds a message that triggered a handler."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from microservice.errors import MicroserviceError


@dataclass(frozen=True, slots=True)
class Message:
    """One MQTT message; `message["room"]` is the level that its topic names {room}."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    duplicate: bool = False  # it may have been handled before
    levels: Mapping[str, str] = field(default_factory=dict)
    user_properties: tuple[tuple[str, str], ...] = ()
    content_type: str = ""
    response_topic: str = ""
    correlation: bytes = b""

    @property
    def retained(self) -> bool:
        """True when the broker had kept the message: it may be old."""
        return self.retain

    def __getitem__(self, name: str) -> str:
        return self.levels[name]

    def text(self) -> str:
        """Return the payload as UTF-8 text."""
        try:
            return self.payload.decode()
        except UnicodeDecodeError as exc:
            raise MicroserviceError(f"cannot read message on {self.topic}: not text") from exc

    def json(self) -> Any:
        """Return the payload's JSON value."""
        try:
            return json.loads(self.payload)
        except (ValueError, RecursionError) as exc:
            raise MicroserviceError(f"cannot read message on {self.topic}: not JSON") from exc
