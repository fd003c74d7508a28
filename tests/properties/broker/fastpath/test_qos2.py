"""A publisher and a subscriber at QoS 2, whose links lose everything that is on its way."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from broker.quota.limits import Limits
from broker.wire.packets import MQTT_3_1_1, MQTT_5, PubComp, Publish, PubRec, PubRel
from broker.wire.property_values import NO_PROPERTIES, Properties
from tests.unit.broker.rig import Peer, Rig

VERSIONS = (MQTT_3_1_1, MQTT_5)
MAX_PACKET_ID = 3
LIMITS = Limits(in_flight=2)
versions = st.sampled_from(VERSIONS)


def connect(rig: Rig, client_id: str, version: int) -> Peer:
    kept = Properties(session_expiry_s=1000) if version == MQTT_5 else NO_PROPERTIES
    return rig.online(client_id, version, clean_start=False, properties=kept)


class ExactlyOnce(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig(LIMITS)
        self.number = 0
        self.open: dict[int, Publish | PubRel] = {}  # the publisher's, in the order sent
        self.taken: set[int] = set()  # ids the subscriber took and has not completed
        self.seen: list[bytes] = []
        self.receiver = connect(self.rig, "receiver", MQTT_3_1_1)
        self.receiver.subscribe("a", 2)
        self.sender = connect(self.rig, "sender", MQTT_3_1_1)

    @rule()
    def publish(self) -> None:
        free = set(range(1, MAX_PACKET_ID + 1)) - self.open.keys()
        if free:
            self.number += 1
            packet = Publish("a", b"%d" % self.number, 2, packet_id=min(free))
            self.open[min(free)] = packet
            self.sender.send(packet)

    @rule()
    def sender_reads(self) -> None:
        for packet in self.sender.take():
            assert isinstance(packet, PubRec | PubComp)
            if isinstance(packet, PubComp):
                del self.open[packet.packet_id]
            elif isinstance(self.open.pop(packet.packet_id), Publish | PubRel):
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
                continue
            if packet.packet_id in self.taken:
                assert packet.duplicate, "a packet id was used for two messages"
            else:
                self.taken.add(packet.packet_id)
                self.seen.append(packet.payload)
            self.receiver.send(PubRec(packet.packet_id))

    @rule(version=versions)
    def sender_reconnects(self, version: int) -> None:
        self.sender.hang_up()
        self.sender = connect(self.rig, "sender", version)
        for packet_id, packet in self.open.items():
            if isinstance(packet, Publish):
                self.sender.send(
                    Publish("a", packet.payload, 2, duplicate=True, packet_id=packet_id)
                )
            else:
                self.sender.send(packet)

    @rule(version=versions)
    def receiver_reconnects(self, version: int) -> None:
        self.receiver.hang_up()
        self.receiver = connect(self.rig, "receiver", version)

    def teardown(self) -> None:
        """Good links at last: everything must have arrived once, in order."""
        for _ in range(4 * self.number + 4):
            self.sender_reads()
            self.receiver_reads()
        assert self.seen == [b"%d" % number for number in range(1, self.number + 1)]
        assert not self.open
        assert not self.taken
        assert self.rig.core.counters.queued_bytes == 0


ExactlyOnce.TestCase.settings = settings(deadline=None, stateful_step_count=40)
TestExactlyOnce = ExactlyOnce.TestCase
