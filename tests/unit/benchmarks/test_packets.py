import pytest

from benchmarks.packets import (
    READ_BYTES,
    encode_connect,
    encode_length,
    encode_mixed_ring,
    encode_pubacks,
    encode_publish,
    encode_ring,
    encode_suback,
    encode_subscribe,
    read_numbers,
)


# the examples of MQTT 3.1.1, table 2.4
@pytest.mark.parametrize(
    ("length", "encoded"),
    [
        (0, "00"),
        (127, "7f"),
        (128, "8001"),
        (16_383, "ff7f"),
        (16_384, "808001"),
        (268_435_455, "ffffff7f"),
    ],
)
def test_lengths_are_those_of_the_specification(length: int, encoded: str) -> None:
    assert encode_length(length).hex() == encoded


def test_connect_is_a_clean_session_of_3_1_1() -> None:
    assert encode_connect("ab").hex() == "100e00044d5154540402012c00026162"
    assert encode_connect("ab", clean=False)[9] == 0


def test_subscribe_and_its_answer() -> None:
    assert encode_subscribe("a/+", 1).hex() == "820800010003612f2b01"
    assert encode_suback(1).hex() == "9003000101"


def test_publish_has_a_packet_id_only_above_qos_0() -> None:
    assert encode_publish("t", b"xy", qos=0).hex() == "30050001747879"
    assert encode_publish("t", b"xy", qos=1, packet_id=258).hex() == "320700017401027879"


def test_ring_repeats_and_a_read_from_any_place_can_be_compared() -> None:
    ring = encode_ring("topic", 64, qos=0, count=100)
    assert ring.period_bytes == 100 * ring.packet_bytes
    assert len(ring.data) >= ring.period_bytes + READ_BYTES
    assert ring.data.startswith(ring.data[: ring.packet_bytes], ring.period_bytes)
    assert read_numbers(ring.data[: ring.period_bytes], ring) == list(range(100))


def test_ring_measures_packets_and_counts_whole_ones() -> None:
    ring = encode_mixed_ring(["a", "bcd"], [4, 30, 200], count=7)
    sizes = [ring.starts[n + 1] - ring.starts[n] for n in range(7)]
    assert len(set(sizes)) > 2
    assert ring.measure(9) == sum(sizes) + sizes[0] + sizes[1]
    for packets in range(30):
        exact = ring.measure(packets)
        assert ring.count_whole(exact) == packets
        assert packets == 0 or ring.count_whole(exact - 1) == packets - 1


def test_pubacks_carry_the_packet_ids_in_order() -> None:
    ring = encode_ring("topic", 64, qos=1, count=600)
    publishes = ring.data[: 600 * ring.packet_bytes]
    expected = b"".join(b"\x40\x02" + n.to_bytes(2, "big") for n in range(1, 601))
    assert encode_pubacks(publishes, ring) == expected


def test_column_holds_one_byte_of_each_packet() -> None:
    ring = encode_ring("topic", 8, qos=0, count=3)
    assert ring.column(ring.number_at + 3)[:4] == bytes([0, 1, 2, 0])
