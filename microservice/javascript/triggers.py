"""Brings MQTT messages to the handler of index.js, as POST /mqtt with a JSON body."""

import asyncio
import base64
import json
from collections.abc import MutableMapping
from typing import Any

from microservice.errors import ServiceError
from microservice.javascript.application import TRIGGER_PATH
from microservice.javascript.exchange import RuntimeParts, ScriptExchange, ScriptRequest
from microservice.message import Message
from microservice.web import BODY_LIMIT_BYTES

DETAIL_BYTES = 200  # of an answer that is not 2xx, for the error of the message


class MessageTrigger:
    """Handles messages; one is handled when the answer's status is 2xx."""

    def __init__(self, parts: RuntimeParts, slots: asyncio.Semaphore) -> None:
        self._parts, self._slots = parts, slots

    async def handle(self, message: Message) -> bytes | None:
        """Return when the script has handled a message; ServiceError when it has not.

        Returns the answer's body for the response topic of the message, if it has one.
        """
        answer = _Answer()
        headers = {"content-type": "application/json"}
        body = json.dumps(describe_message(message), ensure_ascii=False)
        request = ScriptRequest("POST", TRIGGER_PATH, headers, body)
        async with self._slots:
            exchange = ScriptExchange(request, self._parts, answer.send)
            await exchange.run()
        if not 200 <= exchange.status < 300:
            detail = bytes(answer.body[:DETAIL_BYTES]).decode("utf-8", "replace")
            raise ServiceError(f"POST {TRIGGER_PATH} was answered with {exchange.status}: {detail}")
        return bytes(answer.body) if message.response_topic and answer.body else None


class _Answer:
    """Keeps an answer."""

    def __init__(self) -> None:
        self.body = bytearray()

    async def send(self, event: MutableMapping[str, Any]) -> None:
        self.body += event.get("body", b"")
        if len(self.body) > BODY_LIMIT_BYTES:
            raise ServiceError(f"cannot answer a message with more than {BODY_LIMIT_BYTES} bytes")


def describe_message(message: Message) -> dict[str, Any]:
    """Return the JSON of a message; a payload that is no text is in payloadBase64."""
    described: dict[str, Any] = {
        "topic": message.topic,
        "qos": message.qos,
        "retain": message.retain,
        "duplicate": message.duplicate,
    }
    try:
        described["payload"] = message.payload.decode()
    except UnicodeDecodeError:
        described["payloadBase64"] = base64.b64encode(message.payload).decode()
    described["userProperties"] = [list(pair) for pair in message.user_properties]
    if message.content_type:
        described["contentType"] = message.content_type
    if message.response_topic:
        described["responseTopic"] = message.response_topic
    if message.correlation:
        described["correlationBase64"] = base64.b64encode(message.correlation).decode()
    return described
