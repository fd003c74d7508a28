from hypothesis import given
from hypothesis import strategies as st

from gateway.links.packet_boundary import PacketBoundary


def _packet(size: int) -> bytes:
    length, left = bytearray(), size
    while True:
        left, digit = left >> 7, left & 0x7F
        length.append(digit | (0x80 if left else 0))
        if not left:
            return b"\x30" + bytes(length) + bytes(size)


@given(st.lists(st.integers(0, 20_000), max_size=5), st.lists(st.integers(1, 300), min_size=1))
def test_the_end_of_each_packet_and_nothing_else_is_a_boundary(
    sizes: list[int], cuts: list[int]
) -> None:
    packets = [_packet(size) for size in sizes]
    ends = {0}
    for packet in packets:
        ends.add(max(ends) + len(packet))
    stream, boundary, at = b"".join(packets), PacketBoundary(), 0
    for cut in cuts * (len(stream) // min(cuts) + 1):
        assert boundary.is_between == (at in ends)
        boundary.feed(stream[at : at + cut])
        at = min(at + cut, len(stream))


def test_a_length_that_is_none_is_never_followed_by_a_boundary() -> None:
    boundary = PacketBoundary()
    boundary.feed(b"\x30\xff\xff\xff\xff")
    boundary.feed(bytes(1000))
    assert not boundary.is_between
