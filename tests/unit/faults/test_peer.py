"""The client of the fault runs: what it says, and that its events alone make its state."""

from collections.abc import Sequence

from broker.wire import decode_packet, encode_packet
from broker.wire.packets import (
    MQTT_3_1_1,
    MQTT_5,
    ConnAck,
    Connect,
    Packet,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
)
from broker.wire.property_values import Properties
from broker.wire.reasons import Reason
from tests.faults.events import (
    Event,
    Got,
    History,
    Sent,
    Taken,
    make_payload,
    read_payload,
)
from tests.faults.peer import Habits, Peer


class Line:
    """The other end of a peer's wire."""

    def __init__(self, habits: Habits | None = None) -> None:
        self.history: History = []
        self.habits = habits or Habits()
        self.peer = Peer("p", self.history.append, self.habits, lambda: 0.0)

    def connect(self, *, present: bool = False, window: int | None = None) -> list[Packet]:
        self.peer.connect()
        (connect,) = self.said()
        assert isinstance(connect, Connect)
        self.say(ConnAck(0, present, Properties(receive_maximum=window)))
        return self.said()

    def say(self, *packets: Packet) -> None:
        version = self.habits.version
        self.peer.receive(b"".join(encode_packet(each, version) for each in packets))

    def said(self) -> list[Packet]:
        data, packets = self.peer.take_output(), []
        while data:
            decoded = decode_packet(data, self.habits.version)
            assert decoded is not None
            packet, used = decoded
            packets.append(packet)
            data = data[used:]
        return packets

    def ids(self, packets: Sequence[Packet]) -> list[tuple[str, int | None, bool]]:
        """Return kind, packet id and DUP of what was said."""
        return [
            (
                type(each).__name__,
                getattr(each, "packet_id", None),
                getattr(each, "duplicate", False),
            )
            for each in packets
        ]

    def events(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.history if type(event) is kind]


def message(packet_id: int, qos: int = 1, number: int = 1) -> Publish:
    return Publish("t", make_payload("q", number, 40), qos, packet_id=packet_id)


def test_sends_again_what_was_not_answered_in_the_old_order() -> None:
    line = Line()
    line.connect()
    for qos in (1, 2, 1, 2):
        line.peer.publish("t", qos, 40)
    line.said()
    line.say(PubAck(1), PubRec(2))
    assert line.ids(line.said()) == [("PubRel", 2, False)]
    line.peer.lost()
    again = line.connect(present=True)
    assert line.ids(again) == [("PubRel", 2, False), ("Publish", 3, True), ("Publish", 4, True)]
    assert [event.number for event in line.events(Sent)[4:]] == [3, 4]  # type: ignore[union-attr]  # of that kind


def test_forgets_it_when_the_session_is_gone() -> None:
    line = Line()
    line.connect()
    line.peer.publish("t", 1, 40)
    line.peer.lost()
    assert not line.connect(present=False)
    assert not line.peer.unanswered


def test_subscribes_again_only_where_it_must() -> None:
    line = Line(Habits(filters=(("a", 1), ("b", 2))))
    first = line.connect()
    assert [
        each.subscriptions[0].topic_filter for each in first if isinstance(each, Subscribe)
    ] == [
        "a",
        "b",
    ]
    assert isinstance(first[0], Subscribe)
    line.say(SubAck(first[0].packet_id, (1,)))
    line.peer.lost()
    assert len(line.connect(present=True)) == 1
    line.peer.lost()
    assert len(line.connect(present=False)) == 2


def test_answers_by_quality_of_service() -> None:
    line = Line()
    line.connect()
    line.say(message(7), message(8, 2), PubRel(8))
    assert line.ids(line.said()) == [
        ("PubAck", 7, False), ("PubRec", 8, False), ("PubComp", 8, False),
    ]  # fmt: skip
    assert not line.peer.unreleased


def test_a_lazy_one_answers_when_it_is_asked_to_and_in_order() -> None:
    line = Line(Habits(lazy=True))
    line.connect()
    line.say(message(7), message(8, 2))
    assert not line.said()
    line.peer.answer()
    assert line.ids(line.said()) == [("PubAck", 7, False), ("PubRec", 8, False)]


def test_a_refused_message_is_over() -> None:
    line = Line()
    line.connect()
    line.peer.publish("t", 1, 40)
    line.peer.publish("t", 2, 40)
    line.said()
    line.say(PubAck(1, Reason.QUOTA_EXCEEDED), PubRec(2, Reason.QUOTA_EXCEEDED))
    assert not line.said()
    assert not line.peer.unanswered
    assert all(event.refused for event in line.events(Taken))  # type: ignore[union-attr]  # of that kind
    assert line.peer.refusals == [Reason.QUOTA_EXCEEDED] * 2


def test_keeps_to_the_brokers_window() -> None:
    line = Line()
    line.connect(window=2)
    assert line.peer.room == 2
    line.peer.publish("t", 1, 40)
    assert line.peer.room == 1
    line.peer.lost()
    assert line.peer.room == 0


def test_its_events_make_the_same_state() -> None:
    line = Line(Habits(filters=(("a", 1),)))
    first = line.connect()
    assert isinstance(first[0], Subscribe)
    line.say(SubAck(first[0].packet_id, (1,)))
    for qos in (1, 2, 2, 1, 2):
        line.peer.publish("t", qos, 40)
    line.say(PubAck(1), PubRec(2), PubRec(3), PubComp(3), message(9, 2), message(4, 2), PubRel(4))
    copy = Line(line.habits)
    for event in line.history:
        copy.peer.apply(event)
    for line_or_copy in (line, copy):
        line_or_copy.peer.lost()
    assert line.connect(present=True) == copy.connect(present=True)
    for name in ("epoch", "number", "unanswered", "unreleased", "granted", "wanted"):
        assert getattr(copy.peer, name) == getattr(line.peer, name), name
    assert line.peer.unreleased == {9}
    for each in (line, copy):
        each.peer.publish("t", 1, 40)
    assert line.events(Sent)[-1] == copy.events(Sent)[-1]


def test_speaks_both_versions() -> None:
    for version in (MQTT_3_1_1, MQTT_5):
        line = Line(Habits(version=version, will=("w", 1, 0)))
        line.connect()
        line.say(message(1))
        (event,) = line.events(Got)
        assert event[2:4] == ("q", 1)


def test_payloads_say_what_they_are() -> None:
    payload = make_payload("one", 12, 40)
    assert len(payload) == 40
    assert read_payload(payload) == ("one", 12, True)
    assert read_payload(payload[:-1] + b"?") == ("one", 12, False)
    assert read_payload(b"") == read_payload(b"x") == ("", 0, False)
    assert make_payload("one", 12, 0) == b""
