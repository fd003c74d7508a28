"""Handles runs of plain PUBLISH packets at QoS 0 and 1, and of PUBACKs.

Fast path. Scenarios: qos0_1to1, 1,038,000 deliveries/s with this path and 37,000 without it; and
qos1_1to1, 64,000 and 13,300 (python -m benchmarks --quick). Equated with the readable path by
tests/properties/broker/fastpath/test_dispatcher.py.

A packet that starts with the same bytes as the one before (same topic, same length) is not parsed
again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.fastpath.fan_out import NO_ID, PAUSED_RUN_BYTES, PUBACK, append_chunk
from broker.sessions.inflight import split_packet_ids
from broker.sessions.route import CLOSED_RECEIVER_SET
from broker.wire.raw_publish import PLAIN_QOS0, PLAIN_QOS1, measure_length, measure_publish

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.fastpath.fan_out import FanOut, Run
    from broker.quota.counters import BrokerCounters
    from broker.sessions.client import Client
    from broker.sessions.route import PublishRoute, ReceiverSet
    from broker.wire.raw_publish import Parts


class PlainFastPath:
    """Takes runs of packets without RETAIN, DUP and properties."""

    def __init__(
        self,
        fan_out: FanOut,
        counters: BrokerCounters,
        send_waiting: Callable[[Client], None],
    ) -> None:
        self._fan_out = fan_out
        self._counters = counters
        self._send_waiting = send_waiting  # after PUBACKs
        self.runs: dict[int, Run] = {
            PLAIN_QOS0: self._run_qos0,
            PLAIN_QOS1: self._run_qos1,
            PUBACK[0]: self._run_pubacks,
        }

    def _run_qos0(self, client: Client, buffer: bytes, start: int) -> int:
        # speed: consecutive packets to the same receivers leave as one slice; packets that start
        # like the two before (topic, length) are only compared; the length is read in place
        size, five, startswith = len(buffer), client.five, buffer.startswith
        routes, find_route = client.routes, self._fan_out.find_route
        receiver_set = CLOSED_RECEIVER_SET  # closed
        last: PublishRoute | None = None
        first, count = start, 0
        counts: dict[ReceiverSet, int] = {}  # of packets sent before, by receiver set
        try:
            while size - start >= 4:
                length, body = buffer[start + 1], start + 2
                if length >= 0x80:
                    length, body = measure_length(buffer, length, body)
                end = body + length
                if buffer[start] != PLAIN_QOS0 or end > size:
                    break
                topic_end = body + 2 + (buffer[body] << 8 | buffer[body + 1])
                # the topic must end within its packet, or the slice reaches into the next
                if topic_end + five > end or (five and buffer[topic_end]):
                    break
                topic = buffer[body + 2 : topic_end]
                route = routes.get(topic) or find_route(client, topic)
                if end - start > route.receiver_set.limit:
                    break
                if route.receiver_set is not receiver_set:
                    if count:
                        append_chunk(receiver_set, buffer[first:start], five)
                        counts[receiver_set] = counts.get(receiver_set, 0) + count
                    receiver_set, first, count = route.receiver_set, start, 0
                count += 1
                if route is last:
                    head, step = buffer[start : topic_end + five], end - start
                    while startswith(head, end) and end + step <= size:
                        end += step
                        count += 1
                last, start = route, end
        finally:  # also when the next packet is a fault
            self._end_run(receiver_set, buffer[first:start], five, count, counts)
        return start

    def _end_run(
        self,
        last: ReceiverSet,
        chunk: bytes,
        five: bool,
        count: int,
        counts: dict[ReceiverSet, int],
    ) -> None:
        if count:
            append_chunk(last, chunk, five)
            self._fan_out.note_sent(last, count)
        for (
            receiver_set,
            sent,
        ) in counts.items():  # speed: once for all that a run sent there before
            self._fan_out.note_sent(receiver_set, sent)

    def _run_qos1(self, client: Client, buffer: bytes, start: int) -> int:
        size, five, startswith = len(buffer), client.five, buffer.startswith
        receiver_set: ReceiverSet | None = None
        head, step, id_at = b"", 0, 0
        parts: list[Parts] = []
        packet_ids: list[bytes] = []
        try:
            while size - start >= 6 and not client.acks:  # else the PUBACK must be queued
                if receiver_set is None or not (startswith(head, start) and start + step <= size):
                    body, end, topic_end = measure_publish(buffer, start, PLAIN_QOS1)
                    if end > size or topic_end + 2 + five > end:
                        break
                    if five and buffer[topic_end + 2]:  # an alias may stand for the topic
                        break
                    topic = buffer[body + 2 : topic_end]
                    route = client.routes.get(topic) or self._fan_out.find_route(client, topic)
                    found = route.receiver_set
                    if end - start > found.limit_qos1:
                        break
                    if found is not receiver_set:
                        self._fan_out.send_qos1(client, receiver_set, parts)
                        receiver_set, parts = found, []
                        if size - end > PAUSED_RUN_BYTES and found.has_paused:
                            size = max(end, start + PAUSED_RUN_BYTES)
                    head, step, id_at = buffer[start:topic_end], end - start, topic_end - start
                packet_id = buffer[start + id_at : start + id_at + 2]
                rest = buffer[start + id_at + 2 : start + step]
                if packet_id == NO_ID or (five and rest[0]):
                    break
                parts.append((head, rest))
                packet_ids.append(packet_id)
                start += step
        finally:  # also when the next packet is a fault
            self._fan_out.send_qos1(client, receiver_set, parts)
            if packet_ids:
                self._fan_out.acknowledge(client, packet_ids)
        return start

    def _run_pubacks(self, client: Client, buffer: bytes, start: int) -> int:
        size, at, session = len(buffer), start, client.session
        while size - at >= 4 and buffer.startswith(PUBACK, at):
            at += 4
        no_id = buffer.find(PUBACK + NO_ID, start, at)  # matches at the start of a packet only
        if no_id >= 0:
            at = no_id
        if at != start and session is not None:
            self._counters.controls_received += (at - start) // 4
            self._counters.control_bytes_received += at - start
            try:
                unknown = session.inflight.acknowledge(split_packet_ids(buffer[start:at]))
                if unknown:
                    self._counters.refused["unknown_packet_id"] += unknown
            finally:  # also when one of them is a fault
                self._send_waiting(client)
        return at
