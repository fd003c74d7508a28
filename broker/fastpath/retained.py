"""Plain publishes that are retained, one read buffer at a time.

As the runs of flow.py, for packets with RETAIN: each is kept, then goes to its receivers as a new
message does, without the flag. What is no new value (an empty payload), what there is no room
for, and what a subscriber wants to have as it was published, is left to dialog.py.

speed: benchmarks/, retained_100k; states that devices publish are retained as a rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from broker.fastpath.dispatcher import NO_ID, PUBACK
from broker.messages.message import Message
from broker.wire.raw_publish import measure_publish

if TYPE_CHECKING:
    from broker.fastpath.dispatcher import Run
    from broker.messages.retained import RetainedStore
    from broker.quota.counters import BrokerCounters
    from broker.sessions.client import Client
    from broker.sessions.outbound import Outbound
    from broker.sessions.route import PublishRoute, ReceiverSet
    from broker.wire.raw_publish import Parts

RETAINED_QOS0, RETAINED_QOS1 = 0x31, 0x33
RETAIN = 0x01
TURN_KEPT = 3  # messages to known topics, at 7 us each, are a unit of a turn


class RetainedDispatch(Protocol):
    """The part of the dispatcher that the retained path uses."""

    def find_route(self, client: Client, topic: bytes) -> PublishRoute:
        """Return where a topic goes."""

    def send_parts(
        self, client: Client, receiver_set: ReceiverSet | None, parts: list[Parts], kind: int
    ) -> None:
        """Send packets of one kind to all receivers."""

    def spend(self, share: int) -> None:
        """Use up a share of the turn."""


class RetainedOutputs(Protocol):
    """The part of the router that the retained path uses."""

    counters: BrokerCounters
    retained: RetainedStore
    touched: set[Outbound]


class RetainedFastPath:
    """Takes runs of PUBLISH with RETAIN; nothing of it is written down."""

    def __init__(self, dispatcher: RetainedDispatch, router: RetainedOutputs) -> None:
        self._dispatcher = dispatcher
        self._router = router
        self.runs: dict[int, Run] = {RETAINED_QOS0: self._run, RETAINED_QOS1: self._run}

    def _run(self, client: Client, buffer: bytes, start: int) -> int:
        first = buffer[start]
        kind, is_acknowledged = first & ~RETAIN, first == RETAINED_QOS1
        begin, id_bytes = start, 2 if is_acknowledged else 0
        receiver_set: ReceiverSet | None = None
        parts: list[Parts] = []
        packet_ids: list[bytes] = []
        try:
            while len(buffer) - start >= 4 and buffer[start] == first and not client.acks:
                found = self._read(client, buffer, start, id_bytes)
                if found is None:
                    break
                route, message, topic_end, end = found
                packet_id = buffer[topic_end : topic_end + id_bytes]
                if packet_id == NO_ID or not self._router.retained.keep(message):
                    break
                if route.receiver_set is not receiver_set:
                    self._dispatcher.send_parts(client, receiver_set, parts, kind)
                    receiver_set, parts = route.receiver_set, []
                head = bytes((kind,)) + buffer[start + 1 : topic_end]  # [MQTT-3.3.1-12]
                parts.append((head, buffer[topic_end + id_bytes : end]))
                packet_ids.append(packet_id)
                start = end
        finally:  # also when the next packet is a fault
            self._dispatcher.send_parts(client, receiver_set, parts, kind)
            if start != begin:
                self._router.counters.retained = len(self._router.retained)
                self._dispatcher.spend(len(packet_ids) // TURN_KEPT)
                if is_acknowledged:
                    self._acknowledge(client, packet_ids)
        return start

    def _read(
        self, client: Client, buffer: bytes, start: int, id_bytes: int
    ) -> tuple[PublishRoute, Message, int, int] | None:
        """Return route and message, and where topic and packet end; None for what is not plain."""
        body, end, topic_end = measure_publish(buffer, start, buffer[start])
        payload = topic_end + id_bytes + client.five
        if payload >= end or end > len(buffer) or (client.five and buffer[payload - 1]):
            return None
        topic = buffer[body + 2 : topic_end]
        route = client.routes.get(topic) or self._dispatcher.find_route(client, topic)
        receiver_set = route.receiver_set
        if receiver_set.is_as_published or end - start > receiver_set.takes(
            buffer[start] & ~RETAIN
        ):
            return None
        message = Message(
            route.topic,
            buffer[payload:end],
            qos=id_bytes // 2,
            retain=True,
            sender=client.name,
            publisher=client.identity,
        )
        return route, message, topic_end, end

    def _acknowledge(self, client: Client, packet_ids: list[bytes]) -> None:
        client.out.append(PUBACK + PUBACK.join(packet_ids))  # [MQTT-4.3.2-4]
        self._router.counters.send_control(len(packet_ids), 4 * len(packet_ids))
        self._router.touched.add(client)
