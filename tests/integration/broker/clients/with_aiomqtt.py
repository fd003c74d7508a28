"""aiomqtt, 3.1.1 and 5."""

import asyncio
import contextlib
from typing import Any

import aiomqtt
from paho.mqtt.packettypes import PacketTypes

from tests.integration.broker.clients.peer import EXPIRY_S, WAIT_S, Got, Loop, Opening
from tests.integration.broker.clients.with_paho import publish_properties, read
from tests.paho_client import properties_for


class AiomqttPeer:
    """One client on a loop of its own."""

    def __init__(self, opening: Opening, version: aiomqtt.ProtocolVersion) -> None:
        self._loop = Loop()
        self._five = version == aiomqtt.ProtocolVersion.V5
        self._client = self._loop.open(self._open(opening, version))

    def subscribe(self, topic_filter: str, qos: int) -> int:
        granted = self._loop.run(self._client.subscribe(topic_filter, qos))[0]
        return granted if isinstance(granted, int) else granted.value

    def publish(self, message: Got) -> None:
        properties = publish_properties(message) if self._five else None
        self._loop.run(
            self._client.publish(
                message.topic,
                message.payload,
                message.qos,
                retain=message.retain,
                properties=properties,
            )
        )

    def take(self) -> Got:
        return read(self._loop.run(self._next()))

    def close(self) -> None:
        if self._loop.closed:
            return
        self._loop.run(self._end())
        self._loop.close()

    async def _open(self, opening: Opening, version: aiomqtt.ProtocolVersion) -> aiomqtt.Client:
        clean: dict[str, Any] = {"clean_session": not opening.stored}
        if self._five:
            clean = {"clean_start": not opening.stored}
            if opening.stored:
                clean["properties"] = properties_for(
                    PacketTypes.CONNECT, SessionExpiryInterval=EXPIRY_S
                )
        will = None if opening.will is None else aiomqtt.Will(*opening.will, qos=1)
        client = aiomqtt.Client(
            "127.0.0.1",
            opening.port,
            identifier=opening.client_id,
            protocol=version,
            will=will,
            timeout=WAIT_S,
            **clean,
        )
        return await client.__aenter__()

    async def _end(self) -> None:
        with contextlib.suppress(aiomqtt.MqttError):  # the connection is gone
            await self._client.__aexit__(None, None, None)
        if self._client._disconnected.done():
            self._client._disconnected.exception()  # seen, else asyncio complains at the end

    async def _next(self) -> aiomqtt.Message:
        return await asyncio.wait_for(anext(self._client.messages), WAIT_S)
