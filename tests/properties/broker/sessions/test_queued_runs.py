"""Queued messages sent together, against the same ones sent one by one."""

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.wire.packets import MQTT_5, Packet, PubAck, Publish
from broker.wire.property_values import NO_PROPERTIES, Properties
from tests.unit.broker.rig import Rig

WINDOW = 3
LARGE_BYTES = 1_000_000  # a client that names its largest packet gets each message by itself

messages = st.lists(
    st.tuples(
        st.integers(0, 2),  # QoS
        st.sampled_from(["t/a", "t/bb", "u"]),
        st.binary(max_size=200),
        st.sampled_from(
            [
                NO_PROPERTIES,
                Properties(user_properties=(("a", "b"),)),
                Properties(message_expiry_s=5),
                Properties(content_type="x", message_expiry_s=500),
            ]
        ),
    ),
    max_size=40,
)


def deliver(
    sent: list[tuple[int, str, bytes, Properties]], waits_s: float, **more: int
) -> list[Packet]:
    """Publish while the subscriber acknowledges nothing; return what it gets afterwards."""
    rig = Rig()
    consumer = rig.online(
        "c", MQTT_5, clean_start=False,
        properties=Properties(receive_maximum=WINDOW, session_expiry_s=1_000, **more),  # type: ignore[arg-type]  # numbers
    )  # fmt: skip
    consumer.subscribe("t/#", 1, identifiers=(7,))
    consumer.subscribe("u", 1)
    publisher = rig.online("p", MQTT_5)
    for number, (qos, topic, payload, properties) in enumerate(sent, 1):
        packet_id = number if qos else None
        publisher.send(Publish(topic, payload, qos, False, False, packet_id, properties))
    rig.now += waits_s
    got: list[Packet] = []
    while arrived := consumer.take():
        got += arrived
        ids = [each.packet_id for each in arrived if isinstance(each, Publish) and each.packet_id]
        consumer.send(*(PubAck(each) for each in ids))
    return got


@given(messages, st.sampled_from([0.0, 10.0]))
@settings(deadline=None, max_examples=60)
def test_both_ways_send_the_same_packets(
    sent: list[tuple[int, str, bytes, Properties]], waits_s: float
) -> None:
    together = deliver(sent, waits_s)
    one_by_one = deliver(sent, waits_s, maximum_packet_bytes=LARGE_BYTES)
    assert together == one_by_one
