"""The whole core against a model of a page: who gets what, whatever happens in between."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from broker.wire.packets import (
    MQTT_3_1_1,
    MQTT_5,
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
    Unsubscribe,
)
from broker.wire.property_values import NO_PROPERTIES, Properties
from tests.hostile.accounts import check_accounts
from tests.unit.broker.rig import Peer, Rig

NAMES = ("a", "b", "c")
TOPICS = ("t", "t/u", "t/u/v", "$x", "secret")
FILTERS = ("t", "t/+", "t/#", "#", "+/u", "+", "secret", "$x")
KEPT_S = 100

names = st.sampled_from(NAMES)
filters = st.sampled_from(FILTERS)
Got = tuple[str, bytes]


@dataclass
class Known:
    """The model's state of one session."""

    filters: dict[str, int] = field(default_factory=dict)  # QoS by filter
    queue: list[Got] = field(default_factory=list)  # for when it comes back
    expected: list[Got] = field(default_factory=list)
    kept: bool = False
    left_at: float | None = None


def matches(topic_filter: str, topic: str) -> bool:
    if topic.startswith("$") and topic_filter[0] in "+#":
        return False
    pattern = re.escape(topic_filter).replace(r"\+", "[^/]*").replace("/\\#", "(/.*)?")
    return re.fullmatch(pattern.replace(r"\#", ".*"), topic) is not None


class CoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig()
        self.sender = self.rig.online("sender", MQTT_5)
        self.peers: dict[str, Peer] = {}
        self.known: dict[str, Known] = {}
        self.retained: dict[str, bytes] = {}
        self.number = 0

    @rule(name=names, five=st.booleans(), clean=st.booleans())
    def connect(self, name: str, five: bool, clean: bool) -> None:
        properties = NO_PROPERTIES
        if five and not clean:
            properties = Properties(session_expiry_s=KEPT_S)
        peer = self.peers.get(name)
        if peer is not None:
            self.hear(name)
        version = MQTT_5 if five else MQTT_3_1_1
        new = self.rig.online(name, version, clean_start=clean, properties=properties)
        assert peer is None or peer.closed  # taken over
        known = self.known.get(name)
        if known is None or clean or not known.kept:
            known = self.known[name] = Known()
        known.kept, known.left_at = not clean, None
        known.expected += known.queue
        known.queue = []
        self.peers[name] = new

    @precondition(lambda self: self.peers)
    @rule(data=st.data(), politely=st.booleans())
    def leave(self, data: st.DataObject, politely: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.peers)))
        self.hear(name)
        peer = self.peers.pop(name)
        if politely:
            peer.send(Disconnect())
        peer.hang_up()
        if self.known[name].kept:
            self.known[name].left_at = self.rig.now
        else:
            del self.known[name]

    @precondition(lambda self: self.peers)
    @rule(data=st.data(), topic_filter=filters, qos=st.integers(0, 2))
    def subscribe(self, data: st.DataObject, topic_filter: str, qos: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.peers)))
        self.hear(name)
        peer, known = self.peers[name], self.known[name]
        peer.send(Subscribe(1, (Subscription(topic_filter, qos),)))
        kept = peer.take()
        (answer,) = (each for each in kept if isinstance(each, SubAck))
        peer.kept = [each for each in kept if each is not answer]
        if topic_filter in self.rig.rules.no_subscribe:
            assert answer.codes[0] >= 0x80
            return
        assert answer.codes == (qos,)
        known.filters[topic_filter] = qos
        self.judge_retained(topic_filter)
        known.expected += [each for each in self.retained.items() if matches(topic_filter, each[0])]

    @precondition(lambda self: self.peers)
    @rule(data=st.data(), topic_filter=filters)
    def unsubscribe(self, data: st.DataObject, topic_filter: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.peers)))
        self.peers[name].send(Unsubscribe(1, (topic_filter,)))
        self.known[name].filters.pop(topic_filter, None)

    @rule(topic=st.sampled_from(TOPICS), qos=st.integers(0, 2), retain=st.booleans())
    def publish(self, topic: str, qos: int, retain: bool) -> None:
        self.number += 1
        payload = b"%d" % self.number
        packet_id = 1 if qos else None
        self.sender.send(Publish(topic, payload, qos, retain, packet_id=packet_id))
        if qos == 2:
            self.sender.send(PubRel(1))
        if topic in self.rig.rules.no_publish:
            return
        if retain:
            self.retained[topic] = payload
        for name, known in self.known.items():
            found: list[int] = [
                granted for each, granted in known.filters.items() if matches(each, topic)
            ]
            if found and name in self.peers:
                known.expected.append((topic, payload))
            elif min(qos, max(found, default=0)):
                known.queue.append((topic, payload))

    @rule(topic_filter=filters)
    def change_rights(self, topic_filter: str) -> None:
        self.rig.rules.no_subscribe ^= {topic_filter}
        self.rig.rules.no_publish ^= {"secret"}
        for name in self.peers:
            self.hear(name)
        self.rig.core.admin.rights_changed()
        forbidden = self.rig.rules.no_subscribe
        for known in self.known.values():
            if not known.filters.keys() & forbidden:
                continue
            for each in forbidden:
                known.filters.pop(each, None)
            known.queue = [
                got for got in known.queue if any(matches(each, got[0]) for each in known.filters)
            ]

    @rule(seconds=st.sampled_from([1, 60]))
    def wait(self, seconds: int) -> None:
        for name in self.peers:
            self.hear(name)
        self.rig.pass_time(seconds)
        for topic in TOPICS:
            self.judge_retained(topic)
        now = self.rig.now
        for name, known in tuple(self.known.items()):
            # in 3.1.1 sessions are kept as long as limits allow: a week
            if known.left_at is not None and self.stored_for(name) <= now - known.left_at:
                del self.known[name]

    @rule(name=names)
    def cut(self, name: str) -> None:
        """Let an identity's connections and sessions end."""
        if name in self.peers:
            self.hear(name)
        self.rig.core.admin.disconnect(name, self.rig.now)
        self.rig.settle()
        self.known.pop(name, None)
        peer = self.peers.pop(name, None)
        if peer is not None:
            assert peer.closed
            peer.hang_up()

    def judge_retained(self, topic_filter: str) -> None:
        """Forget what is looked at and may not be published any more."""
        for topic in self.rig.rules.no_publish & self.retained.keys():
            if matches(topic_filter, topic):
                del self.retained[topic]

    def stored_for(self, name: str) -> float:
        session = self.rig.core._registry.get(name)
        if session is not None:
            assert session.expiry_s in {KEPT_S, 7 * 86_400}
            return session.expiry_s
        return KEPT_S

    def hear(self, name: str) -> None:
        """Read, acknowledge, and compare with what was to come."""
        peer, known = self.peers[name], self.known[name]
        got: list[Got] = []
        while packets := peer.take():
            answers: list[Packet] = []
            for packet in packets:
                if isinstance(packet, Publish):
                    got.append((packet.topic, packet.payload))
                    if packet.qos:
                        kind = PubAck if packet.qos == 1 else PubRec
                        answers.append(kind(packet.packet_id or 0))
                elif isinstance(packet, PubRel):
                    answers.append(PubComp(packet.packet_id))
            peer.send(*answers)
        assert sorted(got) == sorted(known.expected)
        known.expected = []

    @invariant()
    def accounts_agree(self) -> None:
        check_accounts(self.rig)
        registry = self.rig.core._registry
        assert {each.client_id for each in registry} == {"sender", *self.known}
        for name, known in self.known.items():
            session = registry.get(name)
            assert session is not None
            assert session.subscriptions.keys() == known.filters.keys()

    def teardown(self) -> None:
        for name in self.peers:
            self.hear(name)
        for name in NAMES:
            self.cut(name)
        assert self.rig.core.counters.queued_bytes == 0
        assert self.rig.core.counters.subscriptions == 0


CoreMachine.TestCase.settings = settings(deadline=None, stateful_step_count=40)
TestCore = CoreMachine.TestCase
