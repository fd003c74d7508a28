"""amqtt's client; it speaks 3.1.1 only."""

import asyncio
from typing import Any

from amqtt.client import MQTTClient

from tests.integration.broker.clients.peer import WAIT_S, Got, Loop, Opening


class AmqttPeer:
    """One client on a loop of its own."""

    def __init__(self, opening: Opening) -> None:
        self._loop = Loop()
        self._transport: asyncio.WriteTransport
        config: dict[str, Any] = {"auto_reconnect": False}
        if opening.will is not None:
            topic, payload = opening.will
            config["will"] = {"topic": topic, "message": payload.decode(), "qos": 1}
        self._client = self._loop.open(self._open(opening, config))

    def subscribe(self, topic_filter: str, qos: int) -> int:
        granted: list[int] = self._loop.run(self._client.subscribe([(topic_filter, qos)]))
        return granted[0]

    def publish(self, message: Got) -> None:
        self._loop.run(
            self._client.publish(
                message.topic, message.payload, qos=message.qos, retain=message.retain
            )
        )

    def take(self) -> Got:
        message = self._loop.run(self._client.deliver_message(timeout_duration=WAIT_S))
        packet = message.publish_packet
        return Got(
            packet.topic_name, bytes(packet.payload.data), packet.qos, bool(packet.retain_flag)
        )

    def close(self) -> None:
        if self._loop.closed:
            return
        try:
            self._loop.run(self._client.disconnect())
            self._loop.run(self._end())
        finally:
            self._loop.close()

    async def _open(self, opening: Opening, config: dict[str, Any]) -> MQTTClient:
        client = MQTTClient(client_id=opening.client_id, config=config)
        await client.connect(f"mqtt://127.0.0.1:{opening.port}/", cleansession=not opening.stored)
        handler = client._handler
        assert handler is not None
        writer: asyncio.StreamWriter = handler.writer._writer
        self._transport = writer.transport
        return client

    async def _end(self) -> None:
        """Close the socket, which the library leaves open when the connection was cut."""
        self._transport.abort()
        await asyncio.sleep(0)  # the transport closes its socket in the next iteration
