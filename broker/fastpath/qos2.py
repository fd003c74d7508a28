"""Handles runs of PUBLISH at QoS 2, PUBREC, PUBREL and PUBCOMP.

Fast path. Scenario: qos2_1to1, 16,800 deliveries/s with this path and 6,200 without it (python -m
benchmarks --quick). Equated with the readable path by
tests/properties/broker/fastpath/test_dispatcher.py.

Theory of operation
-------------------
Of consecutive packets of one kind those are taken that are plain and expected; their answers leave
together. The first packet that is not ends the run, and handlers/packets.py handles it. So nothing
here refuses, waits or raises for a packet:

1. A PUBLISH is plain as at QoS 1, has a packet id that is free, and no queue of acknowledgements.
2. PUBREL, PUBREC and PUBCOMP are in their form of four bytes, which means success, and their
   packet id waits for just this packet.
3. A stored session is left out: its answers wait until they are recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.fastpath.fan_out import PAUSED_RUN_BYTES, TURN_QUEUED
from broker.fastpath.queueing import DeferredBatch
from broker.wire.raw_publish import PLAIN_QOS2, measure_publish, translate_parts

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.fastpath.fan_out import FanOut, Run
    from broker.quota.counters import BrokerCounters
    from broker.quota.limits import Limits
    from broker.routing.scheduler import Scheduler
    from broker.sessions.client import Client
    from broker.sessions.outbound import Outbound
    from broker.sessions.route import ReceiverSet
    from broker.sessions.session import Session
    from broker.wire.raw_publish import Parts

PUBREC, PUBREL, PUBCOMP = b"\x50\x02", b"\x62\x02", b"\x70\x02"  # the short form means success
SHORT_BYTES = 4  # of these with their packet id
TURN_PUBLISHES = 16  # at 3 us each, are as much of a turn as a packet that is not plain


class Qos2FastPath:
    """Takes runs of the four packets of QoS 2."""

    def __init__(
        self,
        fan_out: FanOut,
        scheduler: Scheduler,
        limits: Limits,
        counters: BrokerCounters,
        touched: dict[Outbound, None],
        send_waiting: Callable[[Client], None],
    ) -> None:
        self._fan_out = fan_out
        self._scheduler = scheduler
        self._limits = limits
        self._counters = counters
        self._touched = touched
        self._send_waiting = send_waiting  # after PUBCOMPs
        self.runs: dict[int, Run] = {
            PLAIN_QOS2: self._run_publishes,
            PUBREC[0]: self._run_pubrecs,
            PUBREL[0]: self._run_pubrels,
            PUBCOMP[0]: self._run_pubcomps,
        }

    def _run_publishes(self, client: Client, buffer: bytes, start: int) -> int:
        session = client.session
        if session is None or client.acks or not _takes_short_answers(client, session):
            return start
        size, five, startswith = len(buffer), client.five, buffer.startswith
        received = session.received
        ids, free_slots = received.ids, received.free_slots
        if five:
            free_slots = min(free_slots, self._limits.holds - session.unreleased)  # [MQTT-3.3.4-7]
        receiver_set: ReceiverSet | None = None
        head, step, id_at = b"", 0, 0
        parts: list[Parts] = []
        packet_ids: list[bytes] = []
        try:
            while size - start >= 6 and len(packet_ids) < free_slots:
                if receiver_set is None or not (startswith(head, start) and start + step <= size):
                    measured = self._find_receivers(client, buffer, start, size)
                    if measured is None:
                        break
                    found, topic_end, end = measured
                    if found is not receiver_set:
                        self._send(client, receiver_set, parts)
                        receiver_set, parts = found, []
                        if size - end > PAUSED_RUN_BYTES and found.has_paused:
                            size = max(end, start + PAUSED_RUN_BYTES)
                    head, step, id_at = buffer[start:topic_end], end - start, topic_end - start
                packet_id = buffer[start + id_at : start + id_at + 2]
                rest = buffer[start + id_at + 2 : start + step]
                number = packet_id[0] << 8 | packet_id[1]
                if not number or number in ids or (five and rest[0]):
                    break
                ids.add(number)
                parts.append((head, rest))
                packet_ids.append(packet_id)
                start += step
        finally:  # also when the next packet is a fault
            self._send(client, receiver_set, parts)
            if packet_ids:
                received.note_run(packet_ids)
                self._answer(client, PUBREC, packet_ids)  # [MQTT-4.3.3-8]
                self._scheduler.spend(1 + len(packet_ids) // TURN_PUBLISHES)
        return start

    def _find_receivers(
        self, client: Client, buffer: bytes, start: int, size: int
    ) -> tuple[ReceiverSet, int, int] | None:
        """Return where a plain PUBLISH goes, and the ends of its topic and of itself."""
        body, end, topic_end = measure_publish(buffer, start, PLAIN_QOS2)
        if end > size or topic_end + 2 + client.five > end:
            return None
        if client.five and buffer[topic_end + 2]:  # an alias may stand for the topic
            return None
        topic = buffer[body + 2 : topic_end]
        receiver_set = (
            client.routes.get(topic) or self._fan_out.find_route(client, topic)
        ).receiver_set
        return (receiver_set, topic_end, end) if end - start <= receiver_set.limit_qos1 else None

    def _send(self, client: Client, receiver_set: ReceiverSet | None, parts: list[Parts]) -> None:
        if receiver_set is None or not parts:
            return
        self._touched.update(receiver_set.clients)
        self._counters.messages_received += len(parts)
        deferred: DeferredBatch | None = None
        for session, same in receiver_set.high:
            qos = 2 if session in receiver_set.exact else 1  # [MQTT-3.8.4-8]
            fitting = parts
            if not same or qos == 1:
                first, to_five = 0x30 | qos << 1, client.five == same
                fitting = [translate_parts(each, first, client.five, to_five) for each in parts]
            inflight = session.inflight
            sent = inflight.offer_qos2(fitting) if qos == 2 else inflight.offer(fitting)
            self._counters.messages_sent += sent
            if sent < len(parts):
                deferred = deferred or DeferredBatch(client, parts)
                deferred.add(session, sent, qos)
                self._scheduler.spend((len(parts) - sent) // TURN_QUEUED)
        if receiver_set.low_same or receiver_set.low_other:
            self._fan_out.send_low(client, receiver_set, parts)

    def _run_pubrels(self, client: Client, buffer: bytes, start: int) -> int:
        session = client.session
        if session is None or not _takes_short_answers(client, session):
            return start
        release, at, size = session.received.release_decided, start, len(buffer)
        packet_ids: list[bytes] = []
        while size - at >= SHORT_BYTES and buffer.startswith(PUBREL, at):
            if not release(buffer[at + 2] << 8 | buffer[at + 3]):
                break
            packet_ids.append(buffer[at + 2 : at + 4])
            at += SHORT_BYTES
        if packet_ids:
            self._note_received(len(packet_ids))
            self._answer(client, PUBCOMP, packet_ids)  # [MQTT-4.3.3-11]
        return at

    def _run_pubrecs(self, client: Client, buffer: bytes, start: int) -> int:
        session = client.session
        if session is None or session.recorder is not None:
            return start
        inflight, at, size = session.inflight, start, len(buffer)
        packet_ids: list[bytes] = []
        while size - at >= SHORT_BYTES and buffer.startswith(PUBREC, at):
            packet_id = buffer[at + 2 : at + 4]
            if not inflight.is_exact(packet_id):
                break
            inflight.release(packet_id)
            packet_ids.append(packet_id)
            at += SHORT_BYTES
        if packet_ids:
            self._note_received(len(packet_ids))
            self._answer(client, PUBREL, packet_ids)  # [MQTT-4.3.3-4] [MQTT-2.2.1-5]
        return at

    def _run_pubcomps(self, client: Client, buffer: bytes, start: int) -> int:
        session = client.session
        if session is None or session.recorder is not None:
            return start
        inflight, at, size = session.inflight, start, len(buffer)
        while size - at >= SHORT_BYTES and buffer.startswith(PUBCOMP, at):
            packet_id = buffer[at + 2 : at + 4]
            if not inflight.is_released(packet_id):
                break
            inflight.finish(packet_id, released=True)
            at += SHORT_BYTES
        if at != start:
            self._note_received((at - start) // SHORT_BYTES)
            self._send_waiting(client)
        return at

    def _note_received(self, packets: int) -> None:
        self._counters.controls_received += packets
        self._counters.control_bytes_received += SHORT_BYTES * packets

    def _answer(self, client: Client, kind: bytes, packet_ids: list[bytes]) -> None:
        client.out.append(kind + kind.join(packet_ids))
        self._counters.send_control(len(packet_ids), SHORT_BYTES * len(packet_ids))
        self._touched[client] = None


def _takes_short_answers(client: Client, session: Session) -> bool:
    """Return whether a client may be answered at once, with four bytes."""
    return session.recorder is None and client.max_packet_bytes >= SHORT_BYTES  # [MQTT-3.1.2-24]
