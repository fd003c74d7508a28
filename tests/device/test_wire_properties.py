"""Whatever bytes come, and however they are cut: the device's MQTT decoder on CPython."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from device import mqtt_wire as wire
from device.errors import WireError

LIMIT = 900  # above the size of the small buffer
Cuts = list[int]


def decode(data: bytes, cuts: Cuts) -> tuple[list[object], bool]:
    """Return the packets in data and whether it was malformed after them."""
    decoder = wire.Decoder(LIMIT)
    packets: list[object] = []
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in pairwise(edges):
        decoder.feed(data[start:end])
        try:
            while (packet := decoder.take_packet()) is not None:
                packets.append(packet)
        except WireError:
            return packets, True
    return packets, False


cuts = st.lists(st.integers(0, 10_000), max_size=20)


def encode_publish(
    topic: str, payload: bytes, packet_id: int, retain: bool, dup: bool, room: int = 256
) -> bytes:
    """Return a PUBLISH as a connection writes it: its buffer, then what found no room."""
    buffer = bytearray(room)
    end, left = wire.encode_publish(memoryview(buffer), topic, payload, packet_id, retain, dup)
    return bytes(buffer[:end]) + (left or b"")


publishes = st.builds(
    encode_publish,
    st.text(max_size=40),
    st.binary(max_size=1500),
    st.integers(1, 65535),
    st.booleans(),
    st.booleans(),
)
packets = st.one_of(
    publishes,
    st.builds(wire.encode_puback, st.integers(1, 65535)),
    st.just(b"\xd0\x00"),
    st.binary(max_size=12),
)


@given(st.binary(max_size=3000), cuts)
def test_any_bytes_give_packets_or_a_wire_error(data: bytes, where: Cuts) -> None:
    assert decode(data, where) == decode(data, [])


@given(st.lists(packets, max_size=8).map(b"".join), cuts)
def test_any_cut_of_a_stream_gives_the_same_packets(data: bytes, where: Cuts) -> None:
    assert decode(data, where) == decode(data, [])


@given(
    st.text(max_size=40),
    st.binary(max_size=1500),
    st.integers(1, 65535),
    st.booleans(),
    st.booleans(),
)
def test_a_publish_comes_back(
    topic: str, payload: bytes, packet_id: int, retain: bool, dup: bool
) -> None:
    encoded = encode_publish(topic, payload, packet_id, retain, dup)
    [packet], malformed = decode(encoded, [])
    kept = payload if len(encoded) - (2 if len(encoded) < 130 else 3) <= LIMIT else None
    assert packet == (3, topic, kept, packet_id, retain, dup)
    assert not malformed
