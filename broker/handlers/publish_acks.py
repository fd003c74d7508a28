"""Sends the acknowledgements of messages that clients publish, in the order of their PUBLISHes.

Theory of operation
-------------------
A QoS 1 message is answered by a PUBACK, a QoS 2 message by a PUBREC and, after its PUBREL, by a
PUBCOMP. The first answer waits for the message's hold, in a queue (sessions/ack_queue.py) that
keeps the order of the PUBLISHes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.sessions.ack_queue import AckQueue, AckSlot
from broker.sessions.client import Client, ConnectionState
from broker.wire.packets import PubAck, PubRec
from broker.wire.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.handlers.replies import Replies
    from broker.quota.counters import BrokerCounters
    from broker.quota.limits import Limits
    from broker.sessions.outbound import Outbound

PUBACK = b"\x40\x02"  # the short form, which means success in MQTT 5
SHORT_BYTES = 4  # of it with its packet id
FAILURE = Reason.UNSPECIFIED_ERROR  # speed: as in sessions/client.py


class PublishAcks:
    """Owns the queues of acknowledgements of all clients."""

    def __init__(
        self,
        replies: Replies,
        limits: Limits,
        counters: BrokerCounters,
        touched: dict[Outbound, None],
        wake: Callable[[], None],
    ) -> None:
        self._replies = replies
        self._limits = limits
        self._counters = counters
        self._touched = touched
        self._wake = wake  # a hold that is decided has output that no read causes

    def has_room(self, client: Client) -> bool:
        """Return whether a client may send more before it is acknowledged."""
        return client.five or client.acks is None or len(client.acks) < self._limits.holds

    def queue_of(self, client: Client) -> AckQueue:
        """Return the queue of a client's acknowledgements."""
        queue = client.acks
        if queue is None:
            queue = client.open_acks(AckQueue(lambda: self._send_ready(client)))
        return queue

    def hold_if_full(self, client: Client, queue: AckQueue) -> None:
        """Stop reading from a client of MQTT 3.1.1, which knows no Receive Maximum."""
        if not client.five and len(queue) >= self._limits.holds:
            client.hold()
            self._touched[client] = None

    def _send_ready(self, client: Client) -> None:
        queue = client.acks
        assert queue is not None  # it is the caller
        self._wake()
        for slot, verdict in queue.take_ready():
            self._answer(client, slot, verdict)
        if (
            client.held
            and client.state is ConnectionState.ONLINE
            and len(queue) < self._limits.holds
        ):
            client.release()
            self._touched[client] = None

    def _answer(self, client: Client, slot: AckSlot, verdict: Reason) -> None:
        is_refusal = verdict >= FAILURE
        if is_refusal and not client.five:  # 3.1 and 3.1.1 have no code for a refusal
            self._counters.refuse(verdict.name.lower())
            self._replies.end(client, verdict)  # [MQTT-4.8.0-2] of 3.1.1
            return
        if slot.run:
            self._answer_run(client, slot.run, verdict)
            return
        if slot.qos == 1:
            if verdict or client.max_packet_bytes < SHORT_BYTES:
                self._replies.send(client, PubAck(slot.packet_id, verdict))  # [MQTT-4.3.2-4]
            else:
                packet_id = slot.packet_id.to_bytes(2, "big")
                self._answer_short(client, PUBACK, (packet_id,))  # [MQTT-4.3.2-4]
            return
        session = client.session
        assert session is not None  # the queue of a closed connection is closed
        if not is_refusal:
            session.received.unreleased.add(slot.packet_id)
        self._replies.send(client, PubRec(slot.packet_id, verdict))  # [MQTT-4.3.3-8]

    def _answer_run(self, client: Client, packet_ids: tuple[bytes, ...], verdict: Reason) -> None:
        if not verdict:
            self._answer_short(client, PUBACK, packet_ids)
            return
        for packet_id in packet_ids:
            self._replies.send(client, PubAck(int.from_bytes(packet_id, "big"), verdict))

    def _answer_short(self, client: Client, kind: bytes, packet_ids: tuple[bytes, ...]) -> None:
        # speed: without packet objects (benchmarks/, QoS 1 to a shared group)
        client.out.append(kind + kind.join(packet_ids))
        self._counters.send_control(len(packet_ids), SHORT_BYTES * len(packet_ids))
        self._touched[client] = None
