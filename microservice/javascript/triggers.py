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

DETAIL_BYTES = 200  # of an answer that is not 2xx, for the error of the message


class MessageTrigger:
    """Handles messages; one is handled when the answer's status is 2xx."""

    def __init__(self, parts: RuntimeParts, slots: asyncio.Semaphore) -> None:
        self._parts, self._slots = parts, slots

    async def handle(self, message: Message) -> None:
        """Return when the script has handled a message; ServiceError when it has not."""
        answer = _Answer()
        headers = {"content-type": "application/json"}
        body = json.dumps(describe_message(message), ensure_ascii=False)
        request = ScriptRequest("POST", TRIGGER_PATH, headers, body)
        async with self._slots:
            exchange = ScriptExchange(request, self._parts, answer.send)
            await exchange.run()
        if not 200 <= exchange.status < 300:
            detail = bytes(answer.start).decode("utf-8", "replace")
            raise ServiceError(f"POST {TRIGGER_PATH} was answered with {exchange.status}: {detail}")


class _Answer:
    """Keeps the beginning of an answer."""

    def __init__(self) -> None:
        self.start = bytearray()

    async def send(self, event: MutableMapping[str, Any]) -> None:
        room = DETAIL_BYTES - len(self.start)
        self.start += event.get("body", b"")[: max(0, room)]


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
