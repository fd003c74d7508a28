"""Plays one client by the standard: bytes in, bytes out; events alone make its state.

Theory of operation
-------------------
What changes the state is an event: it is noted in the history first, then applied, then sent.
Rules that hold after every call:

1. apply() of all of a client's events makes the same state again.
2. A PUBLISH or PUBREL not answered is sent again when the session goes on, in the old order and
   under the old packet ids.
3. A QoS 2 message is handed on once per packet id until its PUBREL.
4. Answers leave in the order of what they answer.
"""

from collections.abc import Callable
from dataclasses import dataclass

from broker.wire import decode_packet, encode_packet
from broker.wire.packets import (
    MQTT_5,
    Acknowledgement,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    Subscription,
    UnsubAck,
    Unsubscribe,
    Will,
)
from broker.wire.property_values import NO_PROPERTIES, Properties
from tests.faults.events import (
    FOREVER,
    Completed,
    Connected,
    Connecting,
    Event,
    Got,
    Lost,
    Record,
    Released,
    Sent,
    Subscribed,
    Subscribing,
    Taken,
    Unsubscribed,
    Unsubscribing,
    WillSet,
    make_payload,
    read_payload,
    will_sender,
)

EXPIRY_S = 3600
LAST_PACKET_ID = 50_000  # of messages; those of SUBSCRIBE and UNSUBSCRIBE are above
NEVER = 0xFFFFFFFF  # a session expiry
FAILED = 0x80  # reason codes from here on are errors


@dataclass(frozen=True, slots=True)
class Habits:
    """The differences of a client from others."""

    version: int = MQTT_5
    stored: bool = True  # its sessions outlive connections
    window: int = 20  # messages sent and not answered
    receive_maximum: int = 100  # MQTT 5
    lazy: bool = False  # answers only when asked to
    will: tuple[str, int, float] | None = None  # topic, QoS, delay
    filters: tuple[tuple[str, int], ...] = ()
    place: str = ""  # of the broker, where there are several
    prefix: str = ""  # of topics there; the history has them without
    login: tuple[str, bytes] | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """The options of one connection; None is as usual."""

    clean: bool = False
    version: int | None = None
    expiry_s: float | None = None  # of the session; 0 is said by saying nothing


USUAL = Visit()


class Peer:
    """One client id over many connections; owner of its bytes is whoever carries them."""

    def __init__(
        self, name: str, record: Record, habits: Habits, clock: Callable[[], float]
    ) -> None:
        self.name = name
        self.habits = habits
        self.version = habits.version
        self.epoch = self.number = 0
        self.is_online = False
        self.has_dialed = False  # CONNECT was sent, and the connection has not ended
        self.wanted = dict(habits.filters)
        self.granted: dict[str, int] = {}  # by SUBACKs
        self.unanswered: dict[int, Sent | None] = {}  # by packet id; None: waits for PUBCOMP
        self.numbers: dict[int, int] = {}
        self.unreleased: set[int] = set()
        self.refusals: list[int] = []  # reasons of CONNACK, DISCONNECT and refused messages
        self.on_message: Callable[[Publish], None] | None = None
        self._record = record
        self._clock = clock
        self._buffer = b""
        self._output: list[bytes] = []
        self._answers: list[Packet] = []
        self._asked: dict[int, tuple[str, bool]] = {}  # SUBSCRIBE or not, by packet id
        self._is_told = False  # by the broker, why this connection must end
        self._window = habits.window
        self._last_id = 0
        self._last_asked = LAST_PACKET_ID

    @property
    def room(self) -> int:
        """The number of messages that may be published now."""
        return self._window - len(self.unanswered) if self.is_online else 0

    @property
    def is_settled(self) -> bool:
        """True when nothing waits for an answer."""
        return self.is_online and not self.unanswered and not self._asked and not self._answers

    # -- what its owner does ---------------------------------------------------------------

    def connect(self, visit: Visit = USUAL) -> None:
        """Begin a connection."""
        habits = self.habits
        self.version = habits.version if visit.version is None else visit.version
        self._buffer, self._output, self._answers, self._asked = b"", [], [], {}
        self._is_told = False
        clean = visit.clean or not habits.stored
        expiry_s = visit.expiry_s
        if expiry_s is None:
            expiry_s = EXPIRY_S if habits.stored else 0
        if self.version != MQTT_5:
            expiry_s = 0 if clean else FOREVER
        self._note(Connecting(self.name, self.epoch + 1, clean, expiry_s, self._clock()))
        will = None
        if habits.will is not None:
            topic, qos, delay_s = habits.will
            payload = make_payload(will_sender(self.name), self.epoch, 40)
            properties = NO_PROPERTIES
            if delay_s:
                properties = Properties(will_delay_s=int(delay_s))
            will = Will(topic, payload, qos, properties=properties)
            self._note(WillSet(self.name, self.epoch, topic, qos, delay_s))
        properties = NO_PROPERTIES
        if self.version == MQTT_5:
            properties = Properties(
                session_expiry_s=NEVER if expiry_s == FOREVER else int(expiry_s) or None,
                receive_maximum=habits.receive_maximum,
            )
        user, password = habits.login or (None, None)
        self._send(Connect(
            self.name, self.version, clean, 0, will, user, password, properties=properties
        ))  # fmt: skip

    def publish(
        self, topic: str, qos: int, size: int, *, retain: bool = False, expiry_s: float = FOREVER
    ) -> int:
        """Send a new message; there must be room."""
        self._last_id = self._last_id % LAST_PACKET_ID + 1
        while self._last_id in self.unanswered:
            self._last_id = self._last_id % LAST_PACKET_ID + 1
        sent = Sent(
            self.name, self.number + 1, topic, qos, retain, self._last_id, size, False,
            expiry_s, self._clock(),
        )  # fmt: skip
        self._note(sent)
        self._send_message(sent)
        return sent.number

    def subscribe(self, topic_filter: str, qos: int) -> None:
        """Subscribe, and again on later connections unless it is kept."""
        self.wanted[topic_filter] = qos
        self._note(Subscribing(self.name, topic_filter, qos))
        self._ask(topic_filter, wanted=True)
        there = self.habits.prefix + topic_filter
        self._send(Subscribe(self._last_asked, (Subscription(there, qos),)))

    def unsubscribe(self, topic_filter: str) -> None:
        """Unsubscribe."""
        self.wanted.pop(topic_filter, None)
        self._note(Unsubscribing(self.name, topic_filter))
        self._ask(topic_filter, wanted=False)
        self._send(Unsubscribe(self._last_asked, (self.habits.prefix + topic_filter,)))

    def answer(self) -> None:
        """Send the answers a lazy client has put off."""
        answers, self._answers = self._answers, []
        for packet in answers:
            self._send(packet)

    def disconnect(self) -> None:
        """Say good-bye; lost() must follow."""
        self._send(Disconnect())

    def lost(self, *, polite: bool = False, by_broker: bool = False) -> None:
        """The connection is gone."""
        # in 3.1.1 a message can be refused in no other way
        may_refuse = self.version != MQTT_5 and bool(self.unanswered)
        cut = by_broker and not self._is_told and not may_refuse
        self._note(Lost(self.name, self.epoch, polite, self._clock(), cut))

    def receive(self, data: bytes) -> None:
        """Take what came."""
        self._buffer += data
        while decoded := decode_packet(self._buffer, self.version):
            packet, used = decoded
            self._buffer = self._buffer[used:]
            self._handle(packet)
        if not self.habits.lazy:
            self.answer()

    def take_output(self) -> bytes:
        """Return, once, what must be sent."""
        output, self._output = self._output, []
        return b"".join(output)

    # -- the state -------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Follow an event of this client."""
        match event:
            case Connecting():
                self.epoch, self.has_dialed = event.epoch, True
                if event.clean:
                    self._forget()
            case Connected():
                self.is_online = True
                if not event.present:
                    self._forget()
            case Lost():
                self.is_online = self.has_dialed = False
            case Subscribed() if event.qos < FAILED:
                self.granted[event.topic_filter] = event.qos
            case Subscribing():
                self.wanted[event.topic_filter] = event.qos
            case Unsubscribing():
                self.wanted.pop(event.topic_filter, None)
                self.granted.pop(event.topic_filter, None)
            case _:
                self._apply_message(event)

    def _apply_message(self, event: Event) -> None:
        match event:
            case Sent():
                self.number = max(self.number, event.number)
                self._last_id = event.packet_id
                self.unanswered[event.packet_id] = event
                self.numbers[event.packet_id] = event.number
            case Taken():
                sent = self.unanswered.get(event.packet_id)
                if sent is not None and sent.qos == 2 and not event.refused:
                    self.unanswered[event.packet_id] = None
                elif sent is not None:
                    del self.unanswered[event.packet_id]
            case Completed():
                self.unanswered.pop(event.packet_id, None)
            case Got() if event.qos == 2:
                self.unreleased.add(event.packet_id)
            case Released():
                self.unreleased.discard(event.packet_id)

    def _forget(self) -> None:
        """The session is not the old one."""
        self.granted.clear()
        self.unanswered.clear()
        self.unreleased.clear()

    def _note(self, event: Event) -> None:
        self._record(event)
        self.apply(event)

    # -- packets ---------------------------------------------------------------------------

    def _handle(self, packet: Packet) -> None:
        match packet:
            case Publish():
                self._take_message(packet)
            case PubAck() | PubRec():
                self._take_answer(packet)
            case PubRel():
                self._note(Released(self.name, packet.packet_id))
                self._answers.append(PubComp(packet.packet_id))
            case PubComp():
                number = self.numbers.get(packet.packet_id, 0)
                self._note(Completed(self.name, number, packet.packet_id))
            case ConnAck():
                self._take_connack(packet)
            case SubAck():
                topic_filter, _ = self._asked.pop(packet.packet_id)
                self._note(Subscribed(self.name, topic_filter, packet.codes[0]))
            case UnsubAck():
                topic_filter, _ = self._asked.pop(packet.packet_id)
                self._note(Unsubscribed(self.name, topic_filter))
            case Disconnect():
                self._is_told = True
                self.refusals.append(packet.reason)
            case _:
                raise AssertionError(f"{self.name} cannot use {packet}")

    def _take_connack(self, packet: ConnAck) -> None:
        if packet.code:
            self._is_told = True
            self.refusals.append(packet.code)
            return
        asked = packet.properties.receive_maximum
        self._window = min(self.habits.window, asked or self.habits.window)
        self._note(Connected(self.name, self.epoch, packet.session_present, self._clock()))
        for packet_id, sent in list(self.unanswered.items()):
            if sent is None:
                self._send(PubRel(packet_id))
            else:
                sent = sent._replace(again=True)
                self._note(sent)
                self._send_message(sent)
        for topic_filter, qos in list(self.wanted.items()):
            if topic_filter not in self.granted:
                self.subscribe(topic_filter, qos)

    def _take_answer(self, packet: Acknowledgement) -> None:
        packet_id = packet.packet_id
        refused = packet.reason >= FAILED
        sent = self.unanswered.get(packet_id)
        number = self.numbers.get(packet_id, 0)
        self._note(Taken(self.name, number, packet_id, refused, self._clock()))
        if refused:
            self.refusals.append(packet.reason)
        elif isinstance(packet, PubRec) and (sent is None or sent.qos == 2):
            self._send(PubRel(packet_id))

    def _take_message(self, packet: Publish) -> None:
        packet_id = packet.packet_id or 0
        if packet.payload:  # an empty one does not say whose it is
            sender, number, whole = read_payload(packet.payload)
            topic = packet.topic.removeprefix(self.habits.prefix)
            self._note(Got(self.name, self.epoch, sender, number, topic, packet.qos,
                           packet_id, packet.duplicate, packet.retain, whole))  # fmt: skip
        if packet.qos:
            self._answers.append(PubRec(packet_id) if packet.qos == 2 else PubAck(packet_id))
        if self.on_message is not None:
            self.on_message(packet)

    def _send_message(self, sent: Sent) -> None:
        payload = make_payload(self.name, sent.number, sent.size)
        properties = NO_PROPERTIES
        if sent.expiry_s != FOREVER and self.version == MQTT_5:
            properties = Properties(message_expiry_s=int(sent.expiry_s))
        topic = self.habits.prefix + sent.topic
        self._send(Publish(
            topic, payload, sent.qos, sent.retain, sent.again, sent.packet_id, properties
        ))  # fmt: skip

    def _ask(self, topic_filter: str, *, wanted: bool) -> None:
        self._last_asked = LAST_PACKET_ID + 1 + (self._last_asked - LAST_PACKET_ID) % 10_000
        self._asked[self._last_asked] = topic_filter, wanted

    def _send(self, packet: Packet) -> None:
        self._output.append(encode_packet(packet, self.version))
