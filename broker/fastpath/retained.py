"""Handles runs of plain PUBLISH packets with RETAIN, at QoS 0 and 1.

Fast path. Scenario: retained_100k, 24,900 messages stored/s with this path and 10,300 without it
(python -m benchmarks --quick). Equated with the readable path by
tests/properties/broker/fastpath/test_dispatcher.py.

Each message is retained, then goes to its receivers as a new message does, without the flag. A run
ends at a message without a new value (an empty payload), one that does not fit, and one that a
receiver wants as it was published; handlers/packets.py handles those. Nothing of it is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.fastpath.fan_out import NO_ID
from broker.messages.message import Message
from broker.wire.raw_publish import measure_publish

if TYPE_CHECKING:
    from broker.fastpath.fan_out import FanOut, Run
    from broker.messages.retained import RetainedStore
    from broker.quota.counters import BrokerCounters
    from broker.routing.scheduler import Scheduler
    from broker.sessions.client import Client
    from broker.sessions.route import PublishRoute, ReceiverSet
    from broker.wire.raw_publish import Parts

RETAINED_QOS0, RETAINED_QOS1 = 0x31, 0x33
RETAIN = 0x01
TURN_KEPT = 3  # messages to known topics, at 7 us each, cost one unit of a turn


class RetainedFastPath:
    """Takes runs of PUBLISH with RETAIN, in a broker without a store."""

    def __init__(
        self,
        fan_out: FanOut,
        retained: RetainedStore,
        scheduler: Scheduler,
        counters: BrokerCounters,
    ) -> None:
        self._fan_out = fan_out
        self._retained = retained
        self._scheduler = scheduler
        self._counters = counters
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
                if packet_id == NO_ID or not self._retained.keep(message):
                    break
                if route.receiver_set is not receiver_set:
                    self._fan_out.send_parts(client, receiver_set, parts, kind)
                    receiver_set, parts = route.receiver_set, []
                head = bytes((kind,)) + buffer[start + 1 : topic_end]  # [MQTT-3.3.1-12]
                parts.append((head, buffer[topic_end + id_bytes : end]))
                packet_ids.append(packet_id)
                start = end
        finally:  # also when the next packet is a fault
            self._fan_out.send_parts(client, receiver_set, parts, kind)
            if start != begin:
                self._counters.retained = len(self._retained)
                self._scheduler.spend(len(packet_ids) // TURN_KEPT)
                if is_acknowledged:
                    self._fan_out.acknowledge(client, packet_ids)
        return start

    def _read(
        self, client: Client, buffer: bytes, start: int, id_bytes: int
    ) -> tuple[PublishRoute, Message, int, int] | None:
        """Return route, message, ends of topic and packet; None if the packet is not plain."""
        body, end, topic_end = measure_publish(buffer, start, buffer[start])
        payload = topic_end + id_bytes + client.five
        if payload >= end or end > len(buffer) or (client.five and buffer[payload - 1]):
            return None
        topic = buffer[body + 2 : topic_end]
        route = client.routes.get(topic) or self._fan_out.find_route(client, topic)
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
