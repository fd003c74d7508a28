"""What the broker keeps for one client id, over connections: subscriptions and messages.

Theory of operation
-------------------
A QoS 1 or 2 message is in flight (inflight.py) or waits behind those in flight; it waits when the
window is full, the client is away, or it reads too slowly. Retained messages wait last, as a
walk through the store, so that any number of them costs little. Rules after every call:

1. Nothing new overtakes what waits.
2. What waits is within the limits; a newcomer beyond them is dropped and counted.
3. QoS 0 never waits: it is sent, or dropped and counted.
4. No client holds more than what is left for all: however many fill the total, those that hold
   little go on. (Dynamic queue thresholds, Choudhury and Hahne 1998, with alpha = 1.)
5. A newcomer is refused only when no message is left that has expired.
6. Something is in flight while a client that reads has messages waiting: what is acknowledged
   brings the next ones.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from math import inf

from broker.client import Client
from broker.counters import Counters
from broker.delivery import Delivery, Encoder
from broker.durable import Diary
from broker.inflight import PUBREL, Inflight, Parts
from broker.limits import Limits
from broker.message import Message
from broker.packets import MQTT_5, Subscription, Will
from broker.policy import Identity
from broker.received import Received
from broker.resending import shorten_life, transcode
from broker.retained import RetainedStore
from broker.shared import SharedGroup
from broker.topics import is_match, strip_share

# Of retained messages per wake-up, so that others have their turn: about 1 ms.
BACKLOG_STEP_BYTES = 16_384
BACKLOG_STEP_MESSAGE_BYTES = 200  # what sending one costs besides
BACKLOG_STEP_NODE_BYTES = 20  # what looking at a level of a topic costs
EXPIRY_STEP_S = 0.1  # between two searches for expired messages, 1 ms each; expiry is in seconds

_NOTHING: deque[Delivery] = deque(maxlen=0)  # an empty deque of its own would cost 600 bytes


class Session:
    """One client id's state; client is its connection, None while it is away."""

    __slots__ = (
        "_counters", "_current", "_deadlines", "_drop_expired_of_all", "_limits", "_next_expiry",
        "_received", "_waiting", "_waiting_bytes", "client", "client_id", "diary", "expires_at",
        "expiry_s", "inflight", "is_restored", "may_read", "opening", "owner", "pending_retained",
        "subscriptions", "version", "will", "will_at", "will_diary",
    )  # fmt: skip

    def __init__(
        self,
        client_id: str,
        owner: Identity,
        limits: Limits,
        counters: Counters,
        drop_expired_of_all: Callable[[float], None] = lambda _: None,
    ) -> None:
        self.client_id = client_id
        self.owner = owner
        self.may_read: Callable[[str], bool] | None = None  # None: all that is subscribed
        self.client: Client | None = None
        self.opening: Client | None = None  # its CONNECT is being written down
        self.diary: Diary | None = None  # of one that is stored
        self.is_restored = False  # and its owner has not come yet
        self.version = 0
        self.subscriptions: dict[str, Subscription] = {}
        self.inflight = Inflight(counters, limits.queued_bytes, limits.queued_bytes_total)
        self.pending_retained: dict[str, Subscription] = {}  # filters whose retained must be sent
        self.expiry_s: float = 0.0
        self.expires_at: float | None = None  # set while away
        self.will: Will | None = None  # waits for will_at while away
        self.will_at = 0.0
        self.will_diary: Diary | None = None  # of the will alone, where the session is not stored
        self._limits = limits
        self._counters = counters
        self._drop_expired_of_all = drop_expired_of_all  # what waits for any session
        self._next_expiry = inf  # none of those waiting expires before
        # of those sent, by packet id; may have some that are acknowledged
        self._deadlines: dict[bytes, float] | None = None
        self._received: Received | None = None  # made for the first QoS 2 message
        self._waiting = _NOTHING
        self._waiting_bytes = 0
        self._current: tuple[Subscription, Iterator[Message | None]] | None = None

    @property
    def has_retained_to_send(self) -> bool:
        """Whether pump() would look for retained messages."""
        return self._current is not None or bool(self.pending_retained)

    @property
    def waiting(self) -> int:
        """How many messages wait behind those in flight."""
        return len(self._waiting)

    @property
    def received(self) -> Received:
        """What the client has handed over at QoS 2."""
        if self._received is None:
            limits = self._limits
            self._received = Received(self._counters, limits.unreleased, limits.queued_bytes_total)
        return self._received

    @property
    def unreleased(self) -> int:
        """How many PUBRECs were sent on this connection and not followed by a PUBREL."""
        return len(self._received.unreleased) if self._received is not None else 0

    def reads(self, topic: str) -> bool:
        """Return whether the owner may read a topic that is subscribed to."""
        return self.may_read is None or self.may_read(topic)

    def deliver(
        self,
        encoder: Encoder,
        subscription: Subscription,
        now: float,
        group: SharedGroup | None = None,
    ) -> None:
        """Send a message, or let it wait."""
        message = encoder.message
        # [MQTT-3.3.1-12] RETAIN is 0 for a new message, [MQTT-3.3.1-13] unless asked otherwise
        retain = message.retain and subscription.retain_as_published
        qos = min(message.qos, subscription.qos)  # [MQTT-3.8.4-8] [MQTT-4.8.2-3]
        if qos:
            delivery = Delivery(message, retain, subscription.identifiers, qos, group)
            if self.diary is not None and encoder.message_id:
                self._deliver_stored(replace(delivery, message_id=encoder.message_id), encoder, now)
            elif self.inflight.append is None or not self._send(delivery, encoder):
                self.enqueue([delivery], now)  # [MQTT-4.5.0-1]
        elif self.client is not None and not message.is_expired(now):
            self._send_qos0(self.client, encoder, retain=retain, subscription=subscription)

    def has_room(self, size: int, now: float) -> bool:
        """Return whether one more QoS 1 message is sent, or waits, rather than dropped."""
        can_send = self.inflight.append is not None and self.inflight.room > 0
        return can_send or self._can_wait(size, now, is_new=True)

    def enqueue(self, deliveries: Iterable[Delivery], now: float) -> None:
        """Let QoS 1 and 2 messages wait; what does not fit is dropped and counted."""
        self._forget([each for each in deliveries if not self._let_wait(each, now)])
        self._start_sending(now)

    def restore(self, deliveries: Iterable[Delivery], now: float) -> None:
        """Let wait what did before a restart; in which order sessions come must not count."""
        self._forget([each for each in deliveries if not self._let_wait(each, now, is_new=False)])

    def note_deadline(self, packet_id: bytes, message: Message) -> None:
        """Remember when a message expires that is in flight."""
        if message.expires_at is not None:
            if self._deadlines is None:
                self._deadlines = {}
            self._deadlines[packet_id] = message.expires_at

    def has_room_for_id(self, now: float) -> bool:
        """Return whether one more packet id of a QoS 2 message from the client may be noted."""
        if self.received.is_full:
            self._drop_expired_of_all(now)
        return not self.received.is_full

    def attach(self, client: Client, window: int) -> None:
        """Start a connection: send again what was in flight, then what waits."""
        kept = self._packets_for(client)
        if self.diary is not None:
            self.diary.acknowledged(self.inflight.packets.keys() - kept.keys())
        self.inflight.resume(window, kept)
        if self._deadlines:
            self._deadlines = {key: each for key, each in self._deadlines.items() if key in kept}
        if self._received is not None:
            self._received.unreleased.clear()  # [MQTT-4.9.0-1] the quota starts anew
        self.client = client
        self.version = client.version
        self.expires_at = self.will = None  # [MQTT-3.1.3-9]

    def detach(self) -> None:
        """The connection has ended."""
        self.client = None
        self.inflight.append = None

    def pause(self) -> None:
        """The client takes less than it is sent."""
        self.inflight.append = None

    def pump(self, retained: RetainedStore, now: float) -> int:
        """Send what waits, as far as the window and the client's reading allow.

        Returns what looking for retained messages cost, in bytes about; call it again when
        that is BACKLOG_STEP_BYTES or more.
        """
        client = self.client
        if client is None or client.paused:
            return 0
        if self.inflight.is_sending_again:
            self.inflight.send_again(self._find_append_again(client, now))
        self._send_waiting(client, now)
        if not self._waiting and self.has_retained_to_send:
            return self._send_retained(client, retained, now)
        return 0

    def drop_denied(self, lost: Collection[str]) -> list[Delivery]:
        """Drop what waits and must not be read any more; return what other members may get.

        lost are the filters that were taken from the owner. What came by one that the client has
        unsubscribed stays: nobody denied it.
        """
        verdicts: dict[str, bool] = {}
        kept: list[Delivery] = []
        gone: list[Delivery] = []
        for each in self._waiting:
            topic = each.message.topic
            is_denied = verdicts.get(topic)
            if is_denied is None:
                is_denied = verdicts[topic] = self._is_denied(topic, lost)
            (gone if is_denied else kept).append(each)
        if gone:
            self._replace_waiting(kept, gone)
        shared = [each for each in gone if each.group is not None and each.qos == 1]
        if len(gone) > len(shared):
            self._counters.drop("not_authorized", len(gone) - len(shared))
        return shared

    def drop_expired(self, now: float) -> None:
        """Drop what waits and has expired, if anything may have."""
        if now < self._next_expiry:
            return
        kept: list[Delivery] = []
        gone: list[Delivery] = []
        earliest = inf
        for each in self._waiting:
            expires_at = each.message.expires_at
            if expires_at is not None and expires_at <= now:
                gone.append(each)
                continue
            kept.append(each)
            if expires_at is not None and expires_at < earliest:
                earliest = expires_at
        self._next_expiry = max(earliest, now + EXPIRY_STEP_S)
        if gone:
            self._replace_waiting(kept, gone)
            self._counters.drop("expired", len(gone))

    def clear_waiting(self) -> None:
        """Forget what waits."""
        self._counters.queued_bytes -= self._waiting_bytes
        self._waiting = _NOTHING
        self._waiting_bytes = 0
        self._next_expiry = inf

    def find_shared(self) -> list[Delivery]:
        """Return what is for another member of its group now that the session ends."""
        waiting = [each for each in self._waiting if each.group is not None and each.qos == 1]
        return [*(self.inflight.assigned or {}).values(), *waiting]  # [MQTT-4.8.2-5]

    def clear(self, handed_over: int = 0) -> None:
        """Forget all messages; the session has ended."""
        lost = len(self._waiting) + len(self.inflight.packets) - handed_over
        if lost:
            self._counters.drop("session_ended", lost)
        self.clear_waiting()
        self.inflight.clear()
        if self._received is not None:
            self._received.clear()
        self.pending_retained.clear()
        self._current = None

    def forget_retained(self, topic_filter: str) -> None:
        """Send no more retained messages for a filter."""
        self.pending_retained.pop(topic_filter, None)
        if self._current is not None and self._current[0].topic_filter == topic_filter:
            self._current = None

    def keep_diary(self, diary: Diary | None) -> None:
        """Write down from now on what happens, or no more."""
        self.diary = self.inflight.diary = diary

    def _let_wait(self, delivery: Delivery, now: float, *, is_new: bool = True) -> bool:
        """Return False, and count, when there is no room."""
        counters, message = self._counters, delivery.message
        size = message.size_bytes
        if not self._can_wait(size, now, is_new=is_new):
            counters.drop("queue_full")
            return False
        if self._waiting is _NOTHING:
            self._waiting = deque()
        self._waiting.append(delivery)
        self._waiting_bytes += size
        counters.queued_bytes += size
        if message.expires_at is not None and message.expires_at < self._next_expiry:
            self._next_expiry = message.expires_at
        self.inflight.append = None  # [MQTT-4.6.0-5] [MQTT-4.6.0-6] rule 1
        return True

    def _can_wait(self, size: int, now: float, *, is_new: bool) -> bool:
        """Return whether a message fits; what has expired makes room for it."""
        limits = self._limits
        held = self.inflight.size_bytes + self._waiting_bytes
        share = held if is_new else 0  # rule 4
        return (
            len(self._waiting) < limits.queued_messages
            and held + size <= limits.queued_bytes
            and self._counters.queued_bytes + share + size <= limits.queued_bytes_total
        ) or self._make_room(size, now, is_new=is_new)

    def _make_room(self, size: int, now: float, *, is_new: bool) -> bool:
        """Drop what has expired; return whether a newcomer fits now. Rule 5, [MQTT-3.3.2-5]."""
        self.drop_expired(now)
        limits, counters = self._limits, self._counters
        held = self.inflight.size_bytes + self._waiting_bytes
        if len(self._waiting) >= limits.queued_messages or held + size > limits.queued_bytes:
            return False
        room = limits.queued_bytes_total - size - (held if is_new else 0)
        if counters.queued_bytes > room:
            self._drop_expired_of_all(now)
        return counters.queued_bytes <= room

    def _start_sending(self, now: float) -> None:
        """Send what waits if nothing is in flight: no acknowledgement would do it. Rule 6."""
        client = self.client
        if self._waiting and not self.inflight.packets and client is not None and not client.paused:
            self._send_waiting(client, now)

    def _send_waiting(self, client: Client, now: float) -> None:
        self.inflight.open(client.out.append)
        while self._waiting and self.inflight.room > 0:
            delivery = self._waiting.popleft()
            size = delivery.message.size_bytes
            self._waiting_bytes -= size
            self._counters.queued_bytes -= size
            if delivery.message.is_expired(now):  # [MQTT-3.3.2-5]
                self._counters.drop("expired")
                self._forget([delivery])
            else:
                self._send(delivery, Encoder(delivery.message, now))
        if self._waiting:
            self.inflight.append = None

    def _replace_waiting(self, kept: list[Delivery], gone: list[Delivery]) -> None:
        size = sum(each.message.size_bytes for each in gone)
        self._waiting = deque(kept) if kept else _NOTHING
        self._waiting_bytes -= size
        self._counters.queued_bytes -= size
        self._forget(gone)

    def _forget(self, deliveries: Iterable[Delivery]) -> None:
        if self.diary is not None:
            self.diary.dropped([each.message_id for each in deliveries if each.message_id])

    def _is_denied(self, topic: str, lost: Collection[str]) -> bool:
        if not self.reads(topic):
            return True
        if not any(is_match(strip_share(each), topic) for each in lost):
            return False
        return not any(is_match(strip_share(each), topic) for each in self.subscriptions)

    def _deliver_stored(self, delivery: Delivery, encoder: Encoder, now: float) -> None:
        assert self.diary is not None  # the caller looked
        is_sent = False
        if self.inflight.append is not None:
            parts = self._encode(delivery, encoder)
            if parts is None:
                return
            is_sent = self._send_stored(delivery, parts)
        if is_sent:
            encoder.entries.append(self.diary.entry(delivery))
        elif self._let_wait(delivery, now):
            encoder.entries.append(self.diary.entry(delivery))
            self._start_sending(now)

    def _encode(self, delivery: Delivery, encoder: Encoder) -> Parts | None:
        """Return the parts of a packet; None, and count, when the client takes none so large."""
        parts = encoder.parts(
            self.version, delivery.qos, retain=delivery.retain, identifiers=delivery.identifiers
        )
        return None if self._is_too_large(len(parts[0]) + len(parts[1]) + 2) else parts

    def _send(self, delivery: Delivery, encoder: Encoder) -> bool:
        """Send at QoS 1 or 2; return False when it must wait."""
        parts = self._encode(delivery, encoder)
        if parts is None:
            self._forget([delivery])
            return True
        if delivery.message_id:
            return self._send_stored(delivery, parts)
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

    def _send_stored(self, delivery: Delivery, parts: Parts) -> bool:
        diary, inflight = self.diary, self.inflight
        assert diary is not None  # it has a number
        if delivery.qos > 1:
            found = inflight.take_qos2(parts)
            if found is None:
                return False
            packet_id, client = found, self.client
            diary.sent(
                packet_id, delivery.message_id, lambda ok: self._send_safe(client, packet_id, ok=ok)
            )
        elif not inflight.offer((parts,)):
            return False
        else:
            diary.sent(inflight.last_id, delivery.message_id)
            if delivery.group is not None:
                inflight.assign(delivery)
        self.note_deadline(inflight.last_id, delivery.message)
        self._counters.messages_sent += 1
        return True

    def _send_safe(self, client: Client | None, packet_id: bytes, *, ok: bool) -> None:
        """Send a QoS 2 message now that its packet id cannot be given to another one."""
        # of a connection that is gone all was, or will be, sent again
        current = client if client is not None and self.client is client else None
        append = current.out.append if current is not None else None
        if not ok:
            if self.inflight.give_up_taken(packet_id, append):
                self._counters.drop("not_stored")
        elif append is not None:
            self.inflight.send_taken(packet_id, append)
        if current is not None and self.diary is not None:
            self.diary.ledger.touch(current)

    def _send_qos0(
        self, client: Client, encoder: Encoder, *, retain: bool, subscription: Subscription
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

    def _packets_for(self, client: Client) -> dict[bytes, bytes]:
        packets = dict(self.inflight.packets)
        if not packets:
            return packets
        for packet_id, packet in packets.copy().items():
            if packet.startswith(PUBREL):  # the same in all versions
                continue
            if client.version != self.version and MQTT_5 in {client.version, self.version}:
                packets[packet_id] = transcode(packet, self.version, client.version)
            if len(packets[packet_id]) > client.max_packet_bytes:
                self._counters.drop("packet_too_large")  # [MQTT-3.1.2-25]
                del packets[packet_id]
        return packets

    def _find_append_again(self, client: Client, now: float) -> Callable[[bytes], None]:
        """Return what takes a packet that is sent again; one that expires has less life left."""
        append, deadlines = client.out.append, self._deadlines
        if not deadlines or client.version != MQTT_5:  # no other version tells it
            return append
        return lambda packet: append(shorten_life(packet, deadlines, now))

    def _send_retained(self, client: Client, retained: RetainedStore, now: float) -> int:
        size = 0
        while size < BACKLOG_STEP_BYTES:
            if self._current is None:
                if not self.pending_retained:
                    break
                topic_filter = next(iter(self.pending_retained))
                subscription = self.pending_retained.pop(topic_filter)
                self._current = subscription, retained.walk(topic_filter)
            subscription, left = self._current
            if subscription.qos and self.inflight.room <= 0:
                break
            size += BACKLOG_STEP_NODE_BYTES
            try:
                message = next(left)  # the newest of its topic
            except StopIteration:
                self._current = None
                if self.diary is not None:
                    self.diary.caught_up(subscription.topic_filter)
                continue
            if message is not None:
                message = retained.get(message.topic) if self.reads(message.topic) else None
            if message is not None and not message.is_expired(now):
                size += BACKLOG_STEP_MESSAGE_BYTES + len(message.topic) + len(message.payload)
                self._send_one_retained(client, message, subscription, now)
        return size

    def _send_one_retained(
        self, client: Client, message: Message, subscription: Subscription, now: float
    ) -> None:
        encoder = Encoder(message, now)
        qos = min(message.qos, subscription.qos)
        if qos:  # [MQTT-3.3.1-8] of 3.1.1: RETAIN is 1
            diary = self.diary
            message_id = diary.ledger.take_message_ids() if diary is not None else 0
            delivery = Delivery(message, True, subscription.identifiers, qos, None, message_id)
            if diary is not None:
                diary.stored(delivery, now)
            self._send(delivery, encoder)
        else:
            self._send_qos0(client, encoder, retain=True, subscription=subscription)
