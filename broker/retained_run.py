"""Plain publishes that are retained, one read buffer at a time.

As the runs of flow.py, for packets with RETAIN: each is kept, then goes to its receivers as a new
message does, without the flag. What is no new value (an empty payload), what there is no room
for, and what a subscriber wants to have as it was published, is left to dialog.py.

speed: benchmarks/, retained_100k; states that devices publish are retained as a rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from broker.flow import NO_ID, PUBACK
from broker.message import Message
from broker.plain import measure_publish

if TYPE_CHECKING:
    from broker.client import Client
    from broker.counters import Counters
    from broker.flow import Run
    from broker.inflight import Parts
    from broker.retained import RetainedStore
    from broker.route import Outlet, Route

RETAINED_QOS0, RETAINED_QOS1 = 0x31, 0x33
RETAIN = 0x01
TURN_KEPT = 3  # messages to known topics, at 7 us each, are a unit of a turn


class Flow(Protocol):
    """What sends, and keeps the turns."""

    def find_route(self, client: Client, topic: bytes) -> Route:
        """Return where a topic goes."""

    def send_parts(
        self, client: Client, outlet: Outlet | None, parts: list[Parts], kind: int
    ) -> None:
        """Send packets of one kind to all receivers."""

    def spend(self, share: int) -> None:
        """Use up a share of the turn."""


class Router(Protocol):
    """What is retained, and who has output."""

    counters: Counters
    retained: RetainedStore
    touched: set[Client]


class RetainedRun:
    """Takes runs of PUBLISH with RETAIN; nothing of it is written down."""

    def __init__(self, flow: Flow, router: Router) -> None:
        self._flow = flow
        self._router = router
        self.runs: dict[int, Run] = {RETAINED_QOS0: self._run, RETAINED_QOS1: self._run}

    def _run(self, client: Client, buffer: bytes, start: int) -> int:
        first = buffer[start]
        kind, is_acknowledged = first & ~RETAIN, first == RETAINED_QOS1
        begin, id_bytes = start, 2 if is_acknowledged else 0
        outlet: Outlet | None = None
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
                if route.outlet is not outlet:
                    self._flow.send_parts(client, outlet, parts, kind)
                    outlet, parts = route.outlet, []
                head = bytes((kind,)) + buffer[start + 1 : topic_end]  # [MQTT-3.3.1-12]
                parts.append((head, buffer[topic_end + id_bytes : end]))
                packet_ids.append(packet_id)
                start = end
        finally:  # also when the next packet is a fault
            self._flow.send_parts(client, outlet, parts, kind)
            if start != begin:
                self._router.counters.retained = len(self._router.retained)
                self._flow.spend(len(packet_ids) // TURN_KEPT)
                if is_acknowledged:
                    self._acknowledge(client, packet_ids)
        return start

    def _read(
        self, client: Client, buffer: bytes, start: int, id_bytes: int
    ) -> tuple[Route, Message, int, int] | None:
        """Return route and message, and where topic and packet end; None for what is not plain."""
        body, end, topic_end = measure_publish(buffer, start, buffer[start])
        payload = topic_end + id_bytes + client.five
        if payload >= end or end > len(buffer) or (client.five and buffer[payload - 1]):
            return None
        topic = buffer[body + 2 : topic_end]
        route = client.routes.get(topic) or self._flow.find_route(client, topic)
        outlet = route.outlet
        if outlet.is_as_published or end - start > outlet.takes(buffer[start] & ~RETAIN):
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
