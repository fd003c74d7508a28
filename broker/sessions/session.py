"""Keeps the state of one client id across connections: subscriptions and messages.

Theory of operation
-------------------
A QoS 1 or 2 message is in flight (inflight.py) or queued behind those in flight (message_queue.py);
it is queued when the window is full, the client is away, or the client reads too slowly. Retained
messages are sent last, by a walk through their store, so that any number of them costs little.
Rules after every call:

1. No new message overtakes a queued one.
2. QoS 0 is never queued: it is sent, or dropped and counted.
3. Something is in flight while a client that reads has messages queued: its acknowledgement sends
   the next ones. The session is paused then, also while packets wait to be sent again.

lifecycle.py has the states and their transitions.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from functools import partial

from broker.messages.delivery import Delivery, DeliveryGroup, Encoder, encode_delivery
from broker.messages.message import Message
from broker.messages.overflow import OverflowControl
from broker.messages.retained import RetainedStore
from broker.messages.retained_backlog import BACKLOG_STEP_BYTES, RetainedBacklog
from broker.messages.topics import is_match, strip_share
from broker.policy import Identity
from broker.quota.counters import BrokerCounters
from broker.quota.limits import Limits
from broker.sessions.inbound_qos2 import InboundQos2
from broker.sessions.inflight import Inflight
from broker.sessions.lifecycle import SessionLifecycle
from broker.sessions.message_queue import MessageQueue
from broker.sessions.outbound import UNLIMITED_BYTES, Outbound
from broker.sessions.persistence import SessionPersistence
from broker.sessions.resending import convert_packets, shorten_lives
from broker.wire.packets import MQTT_5, Subscription
from broker.wire.raw_publish import Parts

SEND_TOGETHER = 32  # queued messages; little enough that their bytes overshoot no limit by much


class Session(SessionLifecycle):
    """The messages of one client id; client is its connection, None while it is away."""

    __slots__ = (
        "_counters", "_deadlines", "_drop_expired_of_all", "_limits", "_queue", "_received",
        "client", "inflight", "overflow", "recorder", "retained_backlog", "subscriptions",
    )  # fmt: skip

    def __init__(
        self,
        client_id: str,
        owner: Identity,
        limits: Limits,
        counters: BrokerCounters,
        drop_expired_of_all: Callable[[float], None] = lambda _: None,
    ) -> None:
        super().__init__(client_id, owner)
        self.client: Outbound | None = None
        self.recorder: SessionPersistence | None = None  # of a stored session
        self.overflow: OverflowControl | None = None  # None: the newest are dropped
        self.subscriptions: dict[str, Subscription] = {}
        self.inflight = Inflight(counters, limits.queued_bytes, limits.queued_bytes_total)
        self.retained_backlog = RetainedBacklog()
        self._limits = limits
        self._counters = counters
        self._drop_expired_of_all = drop_expired_of_all  # for all sessions of the broker
        self._queue = MessageQueue(limits, counters, drop_expired_of_all)
        # of messages in flight, by packet id; may have some that are acknowledged
        self._deadlines: dict[bytes, float] | None = None
        self._received: InboundQos2 | None = None  # made for the first QoS 2 message

    @property
    def waiting(self) -> int:
        """The number of messages queued behind those in flight."""
        return len(self._queue.messages)

    @property
    def received(self) -> InboundQos2:
        """The packet ids received at QoS 2."""
        if self._received is None:
            limits = self._limits
            self._received = InboundQos2(
                self._counters, limits.unreleased, limits.queued_bytes_total
            )
        return self._received

    @property
    def unreleased(self) -> int:
        """The number of PUBRECs sent on this connection without a PUBREL yet."""
        return len(self._received.unreleased) if self._received is not None else 0

    def deliver(
        self,
        encoder: Encoder,
        subscription: Subscription,
        now: float,
        group: DeliveryGroup | None = None,
    ) -> None:
        """Send a message, or queue it."""
        message = encoder.message
        # [MQTT-3.3.1-12] RETAIN is 0 for a new message, [MQTT-3.3.1-13] unless asked otherwise
        retain = message.retain and subscription.retain_as_published
        qos = min(message.qos, subscription.qos)  # [MQTT-3.8.4-8] [MQTT-4.8.2-3]
        if qos:
            delivery = Delivery(message, retain, subscription.identifiers, qos, group)
            if self.recorder is not None and encoder.message_id:
                self._deliver_stored(replace(delivery, message_id=encoder.message_id), encoder, now)
            elif self.inflight.is_paused or not self._send(delivery, encoder, now):
                self.enqueue([delivery], now)  # [MQTT-4.5.0-1]
            if self.overflow is not None and message.hold is not None:
                self.overflow.keep(message.hold, message.publisher, 1, now)
        elif self.client is not None and not message.is_expired(now):
            self._send_qos0(self.client, encoder, retain=retain, subscription=subscription)

    def has_room(self, size: int, now: float) -> bool:
        """Return whether one more QoS 1 message is sent, or waits, rather than dropped."""
        can_send = not self.inflight.is_paused and self.inflight.free_slots > 0
        return can_send or self._queue.has_room(size, now, self.inflight.size_bytes, is_new=True)

    def use_overflow(self, control: OverflowControl) -> None:
        """Apply a rule when messages do not fit."""
        self.overflow = control
        self._queue.set_overflow(control)

    def enqueue(self, deliveries: Iterable[Delivery], now: float) -> None:
        """Queue QoS 1 and 2 messages; those that do not fit are dropped and counted."""
        self._queue.record_dropped([each for each in deliveries if not self._put(each, now)])
        self._start_sending(now)

    def restore(self, deliveries: Iterable[Delivery], now: float) -> None:
        """Queue messages from the store; the order of the sessions must not count."""
        self._queue.record_dropped(
            [each for each in deliveries if not self._put(each, now, is_new=False)]
        )

    def note_deadline(self, packet_id: bytes, message: Message) -> None:
        """Note when a message in flight expires."""
        if message.expires_at is not None:
            if self._deadlines is None:
                self._deadlines = {}
            self._deadlines[packet_id] = message.expires_at

    def has_room_for_id(self, now: float) -> bool:
        """Return whether one more packet id of a QoS 2 message from the client may be noted."""
        if self.received.is_full:
            self._drop_expired_of_all(now)
        return not self.received.is_full

    def attach(self, client: Outbound, window: int) -> None:
        """Start a connection: pump() sends again what was in flight, then what waits."""
        kept = convert_packets(self.inflight.packets, self.version, client)
        lost = len(self.inflight.packets) - len(kept)
        if lost:
            self._counters.drop("packet_too_large", lost)  # [MQTT-3.1.2-25]
        if self.recorder is not None:
            self.recorder.acknowledged(self.inflight.packets.keys() - kept.keys())
        self.note_attached(client.version)  # [MQTT-3.1.3-9]
        self.inflight.resume(window, kept)
        if self._deadlines:
            self._deadlines = {key: each for key, each in self._deadlines.items() if key in kept}
        if self._received is not None:
            self._received.unreleased.clear()  # [MQTT-4.9.0-1] the quota starts anew
        self.client = client

    def detach(self) -> None:
        """Note that the connection has ended."""
        self.note_detached()
        self.client = None
        self.inflight.pause()

    def pause(self) -> None:
        """Send no more, for the client reads too slowly; pump() goes on."""
        self.inflight.pause()

    def pump(self, retained: RetainedStore, now: float) -> int:
        """Send queued messages, as far as the window and the client's reading allow.

        Returns the cost of the search for retained messages, in bytes; call it again when that is
        BACKLOG_STEP_BYTES or more.
        """
        client = self.client
        if client is None or client.paused:
            return 0
        if self.inflight.is_sending_again:
            append = client.out.append
            if self._deadlines and client.version == MQTT_5:  # other versions have no expiry
                append = shorten_lives(append, self._deadlines, now)
            self.inflight.send_again(append)
            if self.inflight.is_sending_again:  # stays paused: the next acknowledgement comes here
                return 0
        self._send_waiting(client, now)
        if not self._queue.messages and self.retained_backlog:
            return self._send_retained(client, retained, now)
        return 0

    def drop_denied(self, lost: Collection[str]) -> list[Delivery]:
        """Drop queued messages that the owner may not read; return those for other members.

        lost are the filters that were taken from the owner. A message of a filter that the client
        itself has unsubscribed stays.
        """
        return self._queue.drop_topics(lambda topic: self._is_denied(topic, lost))

    def drop_expired(self, now: float) -> None:
        """Drop the queued messages that have expired, if there may be any."""
        self._queue.drop_expired(now)

    def find_shared(self) -> list[Delivery]:
        """Return the messages for other group members, now that the session ends."""
        assigned = self.inflight.assigned or {}
        return [*assigned.values(), *self._queue.find_shared()]  # [MQTT-4.8.2-5]

    def clear(self, handed_over: int = 0) -> None:
        """Forget all messages; the session has ended."""
        lost = len(self._queue.messages) + len(self.inflight.packets) - handed_over
        if lost:
            self._counters.drop("session_ended", lost)
        self._queue.clear()
        self.inflight.clear()
        if self._received is not None:
            self._received.clear()
        self.retained_backlog.clear()

    def set_recorder(self, recorder: SessionPersistence | None) -> None:
        """Record changes from now on, or no more."""
        self.recorder = recorder
        self.inflight.set_recorder(recorder)
        self._queue.set_recorder(recorder)

    def _put(self, delivery: Delivery, now: float, *, is_new: bool = True) -> bool:
        """Queue a message; return False, and count, when there is no room."""
        if not self._queue.put(delivery, now, self.inflight.size_bytes, is_new=is_new):
            return False
        self.inflight.pause()  # [MQTT-4.6.0-5] [MQTT-4.6.0-6] rule 1
        return True

    def _start_sending(self, now: float) -> None:
        """Send queued messages if nothing is in flight, as no acknowledgement will come. Rule 3."""
        client = self.client
        is_idle = self._queue.messages and not self.inflight.packets
        if is_idle and client is not None and not client.paused:
            self._send_waiting(client, now)

    def _send_waiting(self, client: Outbound, now: float) -> None:
        self.inflight.open(client.out.append)
        queue = self._queue
        while queue.messages and (free_slots := self.inflight.free_slots) > 0:
            if client.max_packet_bytes >= UNLIMITED_BYTES:
                run = queue.take_run(min(free_slots, SEND_TOGETHER))
                if run:
                    self._send_run(run)
                    continue
            delivery = queue.pop()
            if delivery.message.is_expired(now):  # [MQTT-3.3.2-5]
                self._counters.drop("expired")
                queue.record_dropped([delivery])
            else:
                self._send(delivery, Encoder(delivery.message, now), now)
        if queue.messages:
            self.inflight.pause()

    def _send_run(self, run: list[Delivery]) -> None:
        # speed: a session that cannot keep up gets all its messages from its queue; without sockets
        # 1.5 us each, not 2.9. Equated by tests/properties/broker/sessions/test_queued_runs.py
        inflight, recorder, version = self.inflight, self.recorder, self.version
        inflight.offer([encode_delivery(each, version) for each in run])
        self._counters.messages_sent += len(run)
        if recorder is not None:
            for packet_id, each in zip(inflight.last_ids(len(run)), run, strict=True):
                if each.message_id:
                    recorder.sent(packet_id, each.message_id)

    def _is_denied(self, topic: str, lost: Collection[str]) -> bool:
        if not self.reads(topic):
            return True
        if not any(is_match(strip_share(each), topic) for each in lost):
            return False
        return not any(is_match(strip_share(each), topic) for each in self.subscriptions)

    def _deliver_stored(self, delivery: Delivery, encoder: Encoder, now: float) -> None:
        assert self.recorder is not None  # the caller has checked it
        is_sent = False
        if not self.inflight.is_paused:
            parts = self._encode(delivery, encoder)
            if parts is None:
                return
            is_sent = self._send_stored(delivery, parts, now)
        if is_sent:
            encoder.entries.append(self.recorder.entry(delivery))
        elif self._put(delivery, now):
            encoder.entries.append(self.recorder.entry(delivery))
            self._start_sending(now)

    def _encode(self, delivery: Delivery, encoder: Encoder) -> Parts | None:
        """Return the parts of a packet; None, and count, when the client takes none so large."""
        parts = encoder.parts(
            self.version, delivery.qos, retain=delivery.retain, identifiers=delivery.identifiers
        )
        return None if self._is_too_large(len(parts[0]) + len(parts[1]) + 2) else parts

    def _send(self, delivery: Delivery, encoder: Encoder, now: float) -> bool:
        """Send at QoS 1 or 2; return False when it must wait."""
        parts = self._encode(delivery, encoder)
        if parts is None:
            self._queue.record_dropped([delivery])
            return True
        if delivery.message_id:
            return self._send_stored(delivery, parts, now)
        if delivery.qos > 1:
            if not self.inflight.offer_qos2((parts,)):  # [MQTT-4.8.2-4]
                return False
        elif not self.inflight.offer((parts,)):
            return False
        elif delivery.group is not None:
            self.inflight.assign(delivery)
        self.note_deadline(self.inflight.last_id, delivery.message)
        self._counters.messages_sent += 1
        return True

    def _send_stored(self, delivery: Delivery, parts: Parts, now: float) -> bool:
        recorder, inflight = self.recorder, self.inflight
        assert recorder is not None  # it has a number
        if delivery.qos > 1:
            found = inflight.take_qos2(parts)
            if found is None:
                return False
            packet_id, client = found, self.client
            send = partial(self._send_safe, client, packet_id, now)
            recorder.sent(packet_id, delivery.message_id, send)
        elif not inflight.offer((parts,)):
            return False
        else:
            recorder.sent(inflight.last_id, delivery.message_id)
            if delivery.group is not None:
                inflight.assign(delivery)
        self.note_deadline(inflight.last_id, delivery.message)
        self._counters.messages_sent += 1
        return True

    def _send_safe(self, client: Outbound | None, packet_id: bytes, now: float, ok: bool) -> None:
        """Send a QoS 2 message now that its packet id cannot be given to another one."""
        # a new connection sends again what is in flight
        current = client if client is not None and self.client is client else None
        append = current.out.append if current is not None else None
        if not ok:
            if self.inflight.give_up_taken(packet_id, append):
                self._counters.drop("not_stored")
                self._start_sending(now)
        elif append is not None:
            self.inflight.send_taken(packet_id, append)
        if current is not None and self.recorder is not None:
            self.recorder.persistence.touch(current)

    def _send_qos0(
        self, client: Outbound, encoder: Encoder, *, retain: bool, subscription: Subscription
    ) -> None:
        head, body = encoder.parts(
            self.version, 0, retain=retain, identifiers=subscription.identifiers
        )
        if not self._is_too_large(len(head) + len(body)):
            client.out.append(head + body)
            self._counters.messages_sent += 1

    def _is_too_large(self, size: int) -> bool:
        client = self.client
        if client is None or size <= client.max_packet_bytes:
            return False
        self._counters.drop("packet_too_large")  # [MQTT-3.1.2-24] [MQTT-3.1.2-25]
        return True

    def _send_retained(self, client: Outbound, retained: RetainedStore, now: float) -> int:
        size, backlog, inflight = 0, self.retained_backlog, self.inflight
        for cost, subscription, message in backlog.steps(retained, inflight, now):
            size += cost
            if message is not None and self.reads(message.topic):
                self._send_one_retained(client, message, subscription, now)
            elif self.recorder is not None and backlog.is_finished(subscription.topic_filter):
                self.recorder.caught_up(subscription.topic_filter)
            if size >= BACKLOG_STEP_BYTES:
                break
        return size

    def _send_one_retained(
        self, client: Outbound, message: Message, subscription: Subscription, now: float
    ) -> None:
        encoder = Encoder(message, now)
        qos = min(message.qos, subscription.qos)
        if qos:  # [MQTT-3.3.1-8] of 3.1.1: RETAIN is 1
            recorder = self.recorder
            message_id = recorder.persistence.take_message_ids() if recorder is not None else 0
            delivery = Delivery(message, True, subscription.identifiers, qos, None, message_id)
            if recorder is not None:
                recorder.stored(delivery, now)
            self._send(delivery, encoder, now)
        else:
            self._send_qos0(client, encoder, retain=True, subscription=subscription)
