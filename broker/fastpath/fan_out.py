"""Sends the messages of one run to all their receivers.

speed: a run makes shared bytes once: QoS 0 packets to the same receivers leave as one slice, QoS 1
packets share head and body around their packet ids.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.fastpath.queueing import DeferredBatch
from broker.sessions.route import PublishRoute
from broker.wire.raw_publish import (
    PLAIN_QOS1,
    join_qos0,
    split_chunk,
    translate_chunk,
    translate_parts,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.quota.counters import BrokerCounters
    from broker.routing.route_builder import RouteBuilder
    from broker.routing.scheduler import Scheduler
    from broker.sessions.client import Client
    from broker.sessions.outbound import Outbound
    from broker.sessions.route import ReceiverSet
    from broker.wire.raw_publish import Parts

    Run = Callable[[Client, bytes, int], int]

PUBACK = b"\x40\x02"  # the short form, which means success in MQTT 5
NO_ID = b"\x00\x00"
TURN_QUEUED = 4  # messages that are queued for a client, at 4 us each, cost one unit of a turn
PAUSED_RUN_BYTES = 1_024  # of plain packets in one run while some receiver is paused

NOT_NOW = PublishRoute("", allowed=False)  # its receiver set is closed, so that a run ends


class FanOut:
    """Appends the packets of a run to the output of each receiver, and counts them."""

    def __init__(
        self,
        routes: RouteBuilder,
        scheduler: Scheduler,
        counters: BrokerCounters,
        touched: dict[Outbound, None],
    ) -> None:
        self._routes = routes
        self._scheduler = scheduler
        self._counters = counters
        self._touched = touched

    def find_route(self, client: Client, topic: bytes) -> PublishRoute:
        """Return the route of a topic; NOT_NOW when the turn is over."""
        if self._scheduler.units_left <= 0:
            return NOT_NOW
        self._scheduler.spend(1)
        return self._routes.find_route(client, topic)

    def send_qos1(
        self,
        client: Client,
        receiver_set: ReceiverSet | None,
        parts: list[Parts],
        message_ids: Sequence[int] = (),
    ) -> None:
        """Send messages to all receivers; ids are given when some of these are stored."""
        if receiver_set is None or not parts:
            return
        self._touched.update(receiver_set.clients)
        counters, five = self._counters, client.five
        counters.messages_received += len(parts)
        translated: list[Parts] = []
        deferred: DeferredBatch | None = None
        for session, same in receiver_set.high:
            if not same and not translated:
                translated = [translate_parts(each, PLAIN_QOS1, five, not five) for each in parts]
            sent = session.inflight.offer(parts if same else translated)
            counters.messages_sent += sent
            if message_ids and session.recorder is not None:
                session.recorder.sent_run(session.inflight.last_ids(sent), message_ids)
            if sent < len(parts):
                deferred = deferred or DeferredBatch(client, parts, message_ids)
                deferred.add(session, sent)
                self._scheduler.spend(1 + (len(parts) - sent) // TURN_QUEUED)
        if receiver_set.low_same or receiver_set.low_other:
            self.send_low(client, receiver_set, parts)

    def send_low(self, client: Client, receiver_set: ReceiverSet, parts: list[Parts]) -> None:
        """Send to the receivers that were granted QoS 0."""
        counters, five = self._counters, client.five
        if receiver_set.low_same:
            chunk = join_qos0(parts, five, five)
            counters.messages_sent += len(parts) * len(receiver_set.low_same)
            for append in receiver_set.low_same:
                append(chunk)
        if receiver_set.low_other:
            chunk = join_qos0(parts, five, not five)
            counters.messages_sent += len(parts) * len(receiver_set.low_other)
            for append in receiver_set.low_other:
                append(chunk)

    def send_parts(
        self, client: Client, receiver_set: ReceiverSet | None, parts: list[Parts], kind: int
    ) -> None:
        """Send packets of one kind, PLAIN_QOS0 or PLAIN_QOS1, to all receivers."""
        if kind == PLAIN_QOS1:
            self.send_qos1(client, receiver_set, parts)
        elif receiver_set is not None and parts:
            chunk = b"".join([head + body for head, body in parts])
            append_chunk(receiver_set, chunk, client.five)
            self.note_sent(receiver_set, len(parts))

    def note_sent(self, receiver_set: ReceiverSet, count: int) -> None:
        """Count QoS 0 packets that were appended for a receiver set."""
        counters = self._counters
        self._touched.update(receiver_set.clients)
        counters.messages_received += count
        counters.messages_sent += count * (len(receiver_set.clients) + len(receiver_set.groups))

    def acknowledge(self, client: Client, packet_ids: list[bytes]) -> None:
        """Answer QoS 1 messages with one slice of PUBACKs."""
        client.out.append(PUBACK + PUBACK.join(packet_ids))  # [MQTT-4.3.2-4]
        self._counters.send_control(len(packet_ids), 4 * len(packet_ids))
        self._touched[client] = None


def append_chunk(receiver_set: ReceiverSet, chunk: bytes, five: bool) -> None:
    """Append a slice of QoS 0 packets to the output of each receiver."""
    for append in receiver_set.same:
        append(chunk)
    if receiver_set.other:
        translated = translate_chunk(chunk, to_five=not five)
        for append in receiver_set.other:
            append(translated)
    if receiver_set.groups and chunk:
        packets = list(split_chunk(chunk))
        for group in receiver_set.groups:
            group.share(packets, five=five)
