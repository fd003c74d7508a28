"""Handles runs of plain PUBLISH packets at QoS 1 whose PUBACKs wait.

Fast path. Scenario: durable_max, 65,500 messages acknowledged/s with this path and 8,600 without it
(python -m benchmarks --quick). Held to the same rules as the readable path by
tests/properties/broker/sessions/test_crashes.py, which runs both.

Theory of operation
-------------------
The PUBACKs of a run wait for the store, and for sessions that are behind (messages/overflow.py).
The messages of one run are recorded together and share one slot in the client's queue of
acknowledgements (sessions/ack_queue.py), so that one commit lets all of them go, in order. While
that queue is not empty, messages for no stored session take this path too, for their PUBACKs must
be queued as well. Rules after every call:

1. A message is recorded before what happens to it (sent, dropped).
2. At most ``holds`` messages of a client are not acknowledged: a client of 3.1.1 is not read any
   further; handlers/publish.py closes one of MQTT 5 that ignores its Receive Maximum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from broker.fastpath.fan_out import NO_ID
from broker.journal.records import StoredSeries
from broker.messages.message import Hold
from broker.sessions.persistence import MUCH_BYTES
from broker.wire.raw_publish import PLAIN_QOS1, measure_publish
from broker.wire.reasons import Reason

if TYPE_CHECKING:
    from broker.fastpath.fan_out import FanOut
    from broker.journal.records import Series
    from broker.quota.counters import BrokerCounters
    from broker.quota.limits import Limits
    from broker.routing.backpressure import Backpressure
    from broker.routing.route_builder import RouteBuilder
    from broker.sessions.ack_queue import AckQueue
    from broker.sessions.client import Client
    from broker.sessions.persistence import Persistence
    from broker.sessions.route import ReceiverSet
    from broker.wire.raw_publish import Parts


class PublishAckQueues(Protocol):
    """Gives the queue of acknowledgements of a client."""

    def queue_of(self, client: Client) -> AckQueue:
        """Return the queue of a client."""

    def hold_if_full(self, client: Client, queue: AckQueue) -> None:
        """Stop reading from a client of MQTT 3.1.1 with too many acknowledgements outstanding."""


class _Batch(NamedTuple):
    receiver_set: ReceiverSet
    parts: list[Parts]
    topics: list[tuple[str, int]]  # and the number of the first part of each


class DurableFastPath:
    """Takes runs of PUBLISH for stored sessions."""

    def __init__(  # noqa: PLR0913  # parts are passed, not fetched
        self,
        fan_out: FanOut,
        routes: RouteBuilder,
        acks: PublishAckQueues,
        persistence: Persistence,
        backpressure: Backpressure,
        limits: Limits,
        counters: BrokerCounters,
    ) -> None:
        self._fan_out = fan_out
        self._routes = routes
        self._acks = acks
        self._persistence = persistence
        self._backpressure = backpressure
        self._limits = limits
        self._counters = counters

    def run(self, client: Client, buffer: bytes, start: int) -> int:
        """Handle the packets at start that are of this kind; return where the next one begins."""
        session = client.session
        if buffer[start] != PLAIN_QOS1 or session is None or self._backpressure.is_on:
            return start
        queue = self._acks.queue_of(client)
        free_slots = self._limits.holds - len(queue) - session.unreleased
        batches: list[_Batch] = []
        packet_ids: list[bytes] = []
        begin = start
        try:
            start = self._read(client, buffer, start, free_slots, batches, packet_ids)
        finally:  # also when the next packet is a fault
            if packet_ids:
                self._take(client, queue, batches, packet_ids, start - begin or len(buffer))
                if self._persistence.collected_bytes >= MUCH_BYTES:
                    self._persistence.flush()  # after which the store may be behind
        return start

    def _read(
        self,
        client: Client,
        buffer: bytes,
        start: int,
        free_slots: int,
        batches: list[_Batch],
        packet_ids: list[bytes],
    ) -> int:
        size, five, startswith = len(buffer), client.five, buffer.startswith
        head, step, id_at = NO_ID, 0, 0  # no PUBLISH starts like NO_ID
        receiver_set: ReceiverSet | None = None
        parts: list[Parts] = []
        topics: list[tuple[str, int]] = []
        while size - start >= 6 and len(packet_ids) < free_slots:
            if not (startswith(head, start) and start + step <= size):
                body, end, topic_end = measure_publish(buffer, start, PLAIN_QOS1)
                if end > size or topic_end + 2 + five > end:
                    break
                if five and buffer[topic_end + 2]:  # an alias may stand for the topic
                    break
                name = buffer[body + 2 : topic_end]
                route = client.routes.get(name) or self._routes.find_route(client, name)
                if end - start > max(
                    route.receiver_set.limit_qos1, route.receiver_set.limit_stored
                ):
                    break
                if route.receiver_set is not receiver_set:
                    receiver_set, parts, topics = route.receiver_set, [], []
                    batches.append(_Batch(receiver_set, parts, topics))
                head, step, id_at = buffer[start:topic_end], end - start, topic_end - start
                if not topics or topics[-1][0] != route.topic:
                    topics.append((route.topic, len(parts)))
            packet_id = buffer[start + id_at : start + id_at + 2]
            rest = buffer[start + id_at + 2 : start + step]
            if packet_id == NO_ID or (five and rest[0]):
                break
            parts.append((head, rest))
            packet_ids.append(packet_id)
            start += step
        return start

    def _take(
        self,
        client: Client,
        queue: AckQueue,
        batches: list[_Batch],
        packet_ids: list[bytes],
        size: int,
    ) -> None:
        persistence, counters = self._persistence, self._counters
        first = persistence.take_message_ids(len(packet_ids))
        records = _describe(client, batches, first)
        slot = queue.join_run(tuple(packet_ids))
        hold = Hold(lambda ok: slot.decide(Reason.SUCCESS if ok else Reason.QUOTA_EXCEEDED))
        hold.keep()  # until all receivers have the run

        def done(ok: bool) -> None:
            if ok:
                hold.release()
            else:
                counters.refuse("not_stored")
                hold.refuse()

        if records:
            hold.keep()
            persistence.collect_run(records, first, size, done)  # rule 1
            if self._backpressure.queue:
                self._backpressure.pass_through(client)
        for receiver_set, parts, _ in batches:
            following = first + len(parts)
            self._fan_out.send_qos1(
                client, receiver_set, parts, range(first, following) if receiver_set.entries else ()
            )
            for session in receiver_set.holding:
                if session.overflow is not None:
                    session.overflow.keep(hold, client.identity, len(parts), client.last_heard)
            first = following
        hold.release()
        self._acks.hold_if_full(client, queue)  # rule 2


def _describe(client: Client, batches: list[_Batch], first: int) -> list[Series]:
    # speed: made without Message and Encoder
    records: list[Series] = []
    sender, body_at = client.name, 1 if client.five else 0  # behind the empty properties
    for receiver_set, parts, topics in batches:
        entries = receiver_set.entries
        if entries:
            ends = [*(begin for _, begin in topics[1:]), len(parts)]
            for (topic, begin), end in zip(topics, ends, strict=True):
                payloads = [rest[body_at:] for _, rest in parts[begin:end]]
                records.append(StoredSeries(first + begin, topic, payloads, sender, entries))
        first += len(parts)
    return records
