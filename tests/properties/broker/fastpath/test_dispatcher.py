"""The hot path does what the readable path does, however a stream is cut, whatever it holds."""

from dataclasses import dataclass, replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from broker.quota.limits import Limits
from broker.wire import encode_packet
from broker.wire.packets import (
    MQTT_3_1_1,
    MQTT_5,
    Packet,
    PingReq,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    Subscribe,
    Subscription,
    Unsubscribe,
)
from broker.wire.property_values import NO_PROPERTIES, Properties
from tests.unit.broker.rig import Peer, Rig

TOPICS = ("a", "a/b", "a/b/c", "b", "secret", "ä" * 100)
FILTERS = ("a", "a/+", "#", "a/b/#", "b", "ä" * 100, "$share/g/a/#", "$share/h/#")
PEERS = (("four", MQTT_3_1_1), ("five", MQTT_5), ("other four", MQTT_3_1_1), ("other", MQTT_5))
NEXT_ACK = PubAck(65_000)  # stands for the answer to the oldest packet that wants one
LIMITS = Limits(in_flight=3, queued_messages=5, topic_levels=5, routes=3, retained_messages=4)


@dataclass(frozen=True)
class Step:
    """The packets that one client sends at once."""

    peer: int
    packets: tuple[Packet, ...]


def count_on(packet: Publish, count: int) -> Publish:
    """Return the same message under a later packet id."""
    if packet.packet_id is None:
        return packet
    return replace(packet, packet_id=(packet.packet_id + count - 1) % 9 + 1)


identifiers = st.sampled_from([(), (), (), (7,)])
publishes = st.sampled_from([0, 0, 1, 1, 2]).flatmap(
    lambda qos: st.builds(
        Publish,
        st.sampled_from(TOPICS),
        st.sampled_from([b"", b"x", b"y" * 50, b"z" * 130]),
        st.just(qos),
        st.sampled_from([False, False, False, True]),
        st.booleans() if qos else st.just(False),
        st.integers(1, 9) if qos else st.none(),
        st.sampled_from([NO_PROPERTIES, NO_PROPERTIES, Properties(content_type="t")]),
    )
)
aliased = st.builds(
    lambda packet, alias, known: replace(
        packet, topic="" if known else packet.topic, properties=Properties(topic_alias=alias)
    ),
    publishes,
    st.integers(1, 2),
    st.sampled_from([True, True, True, False]),
)
runs = st.tuples(publishes | aliased, st.integers(1, 6)).map(lambda pair: [pair[0]] * pair[1])
numbered = st.tuples(publishes, st.integers(2, 6)).map(
    lambda pair: [count_on(pair[0], each) for each in range(pair[1])]
)
answers = st.integers(2, 4).map(lambda count: [NEXT_ACK] * count)
releases = st.lists(st.builds(PubRel, st.integers(1, 9)), min_size=2, max_size=5)
subscriptions = st.builds(
    lambda topic_filter, qos, no_local, as_published, ids: Subscribe(
        1,
        (Subscription(topic_filter, qos, no_local and topic_filter[0] != "$", as_published),),
        Properties(subscription_identifiers=ids) if ids else NO_PROPERTIES,
    ),
    st.sampled_from(FILTERS),
    st.integers(0, 2),
    st.booleans(),
    st.sampled_from([False, False, True]),
    identifiers,
)
others = st.one_of(
    subscriptions,
    st.just(NEXT_ACK),
    st.builds(PubRel, st.integers(1, 9)),
    st.builds(Unsubscribe, st.just(2), st.sampled_from(FILTERS).map(lambda each: (each,))),
    st.just(PingReq()),
)
several = runs | numbered | answers | releases
sent = st.lists(several | others.map(lambda each: [each]), max_size=6).map(
    lambda groups: tuple(packet for group in groups for packet in group)
)
steps = st.lists(st.builds(Step, st.integers(0, len(PEERS) - 1), sent), max_size=12)


def play(
    script: list[Step], cuts: list[int], *, hot_path: bool, tail: bytes = b""
) -> tuple[list[object], object]:
    """Return what every client got, PUBACKs and PUBRECs apart, and the counters."""
    rig = Rig(LIMITS, hot_path=hot_path)
    rig.rules.no_publish.add("secret")
    peers = [rig.online(name, version) for name, version in PEERS]
    for peer in peers:
        if peer.version == MQTT_5:
            peer.send(
                *(
                    Publish(TOPICS[2 * each], b"", properties=Properties(topic_alias=each))
                    for each in (1, 2)
                )
            )
    away = rig.online("away", clean_start=False)
    away.subscribe("a/#", 2)
    away.hang_up()
    acked = [0] * len(peers)
    for step in script:
        peer = peers[step.peer]
        peer.kept = peer.take()
        to_ack = [ack for each in peer.kept if (ack := acknowledge(each))]
        del to_ack[: acked[step.peer]]
        stream = b""
        for packet in step.packets:
            if packet is NEXT_ACK and to_ack:
                acked[step.peer] += 1
                stream += encode_packet(to_ack.pop(0), peer.version)
            elif isinstance(packet, Publish) and not packet.topic and peer.version < MQTT_5:
                stream += encode_packet(replace(packet, topic="a"), peer.version)
            else:
                stream += encode_packet(packet, peer.version)
        if not peer.closed:
            send_cut(peer, stream, cuts)
    send_cut(peers[0], tail, cuts)
    back = rig.online("away", clean_start=False)
    late = rig.online("late", MQTT_5)
    late.subscribe("#", 0)
    seen: list[object] = []
    for peer in [*peers, back, late]:
        arrived = peer.take()
        seen.append([each for each in arrived if not isinstance(each, PubAck | PubRec)])
        seen.append([each for each in arrived if isinstance(each, PubAck | PubRec)])
    counters = rig.core.counters
    counters.bytes_sent = counters.bytes_received = 0  # of no meaning once a client was closed
    return seen, counters


def acknowledge(packet: Packet) -> Packet | None:
    """Return what a client answers."""
    if isinstance(packet, Publish) and packet.packet_id is not None:
        kind = PubAck if packet.qos == 1 else PubRec
        return kind(packet.packet_id)
    return PubComp(packet.packet_id) if isinstance(packet, PubRel) else None


def send_cut(peer: Peer, stream: bytes, cuts: list[int]) -> None:
    start = 0
    for size in cuts:
        if start < len(stream) and not peer.closed:
            peer.send_bytes(stream[start : start + size])
        start += size
    if start < len(stream) and not peer.closed:
        peer.send_bytes(stream[start:])


cuts = st.lists(st.integers(1, 40), max_size=30)
SELF = Step(0, (Subscribe(1, (Subscription("a", 1),)), *[Publish("a", b"x", 1, packet_id=3)] * 6))

SHARED_TOO = Step(
    0,
    (
        Subscribe(1, (Subscription("a"),)),
        Subscribe(1, (Subscription("$share/g/a/#"),)),
        Publish("a", b""),
        Publish("a", b"x"),
    ),
)
# more than the window, so that the last one waits
ALIASED = Step(
    1, (Publish("", b"", 1, packet_id=1, properties=Properties(topic_alias=1)),) * (1 + 3)
)


@settings(deadline=None)
@given(steps, cuts)
@example([SELF, SELF], [])
@example([SHARED_TOO], [])
@example([ALIASED], [])
def test_hot_and_readable_path_do_the_same(script: list[Step], cuts: list[int]) -> None:
    assert play(script, cuts, hot_path=True) == play(script, [], hot_path=False)


@settings(deadline=None)
@given(steps, cuts, st.binary(max_size=80))
@example([SELF], [], b"\x30\x09\x00\x01axxxxxx\x30\x05\x00\x09axx")
@example([], [], b"\x30\x03\x00\x01a\x30\x03\x00\x01#")
@example([SELF], [], b"\x32\x06\x00\x01a\x00\x01x\x32\x06\x00\x01a\x00\x00x")
@example([SELF], [], b"\x32\x05\x00\x02ab\x00\x01\x00\x03")
@example([SELF], [], b"\x32\x06\x00\x01a\x00\x01x\x32\xff\xff\xff\xff\x01")
def test_any_bytes_behind_do_the_same(script: list[Step], cuts: list[int], tail: bytes) -> None:
    assert play(script, cuts, hot_path=True, tail=tail) == play(
        script, [], hot_path=False, tail=tail
    )
