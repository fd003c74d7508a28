"""Holds a message that triggered a handler."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from microservice.errors import MicroserviceError


@dataclass(slots=True)  # speed: a frozen one takes three times as long to make
class Message:
    """One MQTT message; `message["room"]` is the level that its topic names {room}."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    duplicate: bool = False  # it may have been handled before
    levels: Mapping[str, str] = field(default_factory=dict)
    content_type: str = ""
    response_topic: str = ""  # the sender waits there for what the handler returns
    correlation: bytes = b""
    user_properties: tuple[tuple[str, str], ...] = ()  # a name may occur several times
    expiry_s: int | None = None  # the remaining time

    @property
    def retained(self) -> bool:
        """True when the broker had kept the message: it may be old."""
        return self.retain

    def __getitem__(self, name: str) -> str:
        return self.levels[name]

    def user_property(self, name: str) -> str | None:
        """Return the first user property of a name; None when there is none."""
        return next((value for each, value in self.user_properties if each == name), None)

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


def encode_payload(value: Any) -> bytes:
    """Return bytes and text as they are, anything else as JSON, which has no NaN (RFC 8259, 6)."""
    match value:
        case bytes() | bytearray() | memoryview():
            return bytes(value)
        case str():
            return value.encode()
        case _:
            return json.dumps(value, allow_nan=False).encode()
