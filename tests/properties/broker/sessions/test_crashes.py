"""A publisher and a subscriber of stored sessions, and a broker that is killed at any point.

Links and broker may be lost at any time; what the store was given since its last answer may be
written or not. With each connection of MQTT 5 the subscriber allows more or fewer messages in
flight. At QoS 2 everything must arrive once, in order; at QoS 1 at least once.
"""

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from broker.quota.limits import Limits
from broker.wire.packets import (
    MQTT_3_1_1,
    MQTT_5,
    ConnAck,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    Subscribe,
    Subscription,
)
from broker.wire.property_values import NO_PROPERTIES, Properties
from broker.wire.reasons import Reason
from tests.unit.broker.rig import Peer
from tests.unit.broker.stored_rig import StoredRig

VERSIONS = (MQTT_3_1_1, MQTT_5)
MAX_PACKET_ID = 3
LIMITS = Limits(in_flight=3, holds=5)
versions = st.sampled_from(VERSIONS)
counts = st.integers(min_value=0, max_value=6)
windows = st.integers(min_value=1, max_value=3)


def connect(rig: StoredRig, client_id: str, version: int, window: int | None = None) -> Peer:
    kept = NO_PROPERTIES
    if version == MQTT_5:
        kept = Properties(session_expiry_s=1000, receive_maximum=window)
    peer = rig.connect(client_id, version, clean_start=False, properties=kept)
    assert not peer.take(), "CONNACK before the session is safe"
    rig.commit()
    answer, *peer.kept = peer.take()
    assert isinstance(answer, ConnAck)
    assert answer.code == 0
    return peer


class Crashes(RuleBasedStateMachine):
    qos = 2
    hot_path = True

    def __init__(self) -> None:
        super().__init__()
        self.rig = StoredRig(LIMITS, hot_path=self.hot_path)
        self.number = 0
        self.open: dict[int, Publish | PubRel] = {}  # the publisher's, in the order sent
        self.taken: set[int] = set()  # ids the subscriber took and has not completed
        self.seen: list[bytes] = []
        self.answered: list[bytes] = []  # acknowledged messages, which the broker keeps
        self.version = MQTT_3_1_1
        self.receiver = connect(self.rig, "receiver", MQTT_3_1_1)
        self.receiver.send(Subscribe(1, (Subscription("a", self.qos),)))
        assert not self.receiver.take(), "SUBACK before the subscription is safe"
        self.rig.commit()
        assert self.receiver.take()
        self.sender = connect(self.rig, "sender", MQTT_3_1_1)

    @rule()
    def publish(self) -> None:
        free = set(range(1, MAX_PACKET_ID + 1)) - self.open.keys()
        if free:
            self.number += 1
            packet = Publish("a", b"%d" % self.number, self.next_qos(), packet_id=min(free))
            self.open[min(free)] = packet
            self.sender.send(packet)

    @rule(count=counts)
    def commit(self, count: int) -> None:
        self.rig.commit(count)

    @rule()
    def sender_reads(self) -> None:
        for packet in self.sender.take():
            assert isinstance(packet, PubAck | PubRec | PubComp)
            assert packet.reason in (Reason.SUCCESS, Reason.PACKET_ID_NOT_FOUND)
            sent = self.open[packet.packet_id]
            if isinstance(sent, Publish):
                self.answered.append(sent.payload)
            if isinstance(packet, PubAck | PubComp):
                del self.open[packet.packet_id]
            else:
                del self.open[packet.packet_id]
                self.open[packet.packet_id] = PubRel(packet.packet_id)
                self.sender.send(PubRel(packet.packet_id))

    @rule()
    def receiver_reads(self) -> None:
        for packet in self.receiver.take():
            assert isinstance(packet, Publish | PubRel)
            assert packet.packet_id is not None
            if isinstance(packet, PubRel):
                self.taken.discard(packet.packet_id)
                self.receiver.send(PubComp(packet.packet_id))
            elif packet.qos == 1:
                self.seen.append(packet.payload)
                self.receiver.send(PubAck(packet.packet_id))
            else:
                if packet.packet_id in self.taken:
                    assert packet.duplicate, "a packet id was used for two messages"
                else:
                    self.taken.add(packet.packet_id)
                    self.seen.append(packet.payload)
                self.receiver.send(PubRec(packet.packet_id))

    @rule(version=versions)
    def sender_reconnects(self, version: int) -> None:
        self.sender.hang_up()
        self._connect_sender(version)

    @rule(version=versions, window=windows)
    def receiver_reconnects(self, version: int, window: int) -> None:
        self.receiver.hang_up()
        self.receiver = connect(self.rig, "receiver", version, window)

    @rule(written=counts, version=versions, window=windows)
    def broker_crashes(self, written: int, version: int, window: int) -> None:
        self.rig.crash(written)
        self.receiver = connect(self.rig, "receiver", version, window)
        self._connect_sender(version)

    def _connect_sender(self, version: int) -> None:
        self.sender = connect(self.rig, "sender", version)
        for packet in self.open.values():
            if isinstance(packet, Publish):
                again = replace(packet, duplicate=True)
                self.sender.send(again)
            else:
                self.sender.send(packet)

    def teardown(self) -> None:
        """Good links at last: everything must have arrived."""
        for _ in range(1000):
            self.rig.commit()
            self.sender_reads()
            self.rig.commit()
            self.receiver_reads()
            if not (self.open or self.taken or self.rig.core.counters.queued_bytes):
                break
        self.check()
        assert not self.open
        assert not self.taken
        assert self.rig.core.counters.queued_bytes == 0
        self.rig.commit()
        self.rig.crash()
        for session in self.rig.store.image.sessions.values():
            assert not session.queue
            assert not session.released
            assert not session.received

    def next_qos(self) -> int:
        return self.qos

    def check(self) -> None:
        assert self.seen == [b"%d" % number for number in range(1, self.number + 1)]


class CrashesQos1(Crashes):
    qos = 1

    def check(self) -> None:
        assert set(self.seen) == {b"%d" % number for number in range(1, self.number + 1)}
        assert set(self.answered) <= set(self.seen)


class CrashesReadable(CrashesQos1):
    hot_path = False


class CrashesMixed(Crashes):
    """QoS 1 and 2 in turn: in order as they come first, at QoS 2 once."""  # case B11

    def next_qos(self) -> int:
        return 1 + self.number % 2

    def check(self) -> None:
        expected = [b"%d" % number for number in range(1, self.number + 1)]
        assert list(dict.fromkeys(self.seen)) == expected
        twice = [each for each in self.seen if int(each) % 2]
        assert len(twice) == len(set(twice))


for machine in (Crashes, CrashesQos1, CrashesReadable, CrashesMixed):
    machine.TestCase.settings = settings(deadline=None, stateful_step_count=40)
TestExactlyOnce = Crashes.TestCase
TestAtLeastOnce = CrashesQos1.TestCase
TestReadablePath = CrashesReadable.TestCase
TestMixed = CrashesMixed.TestCase
