import socket
from collections.abc import Iterator

import pytest

from benchmarks.packets import encode_ring
from benchmarks.share import NEAR, ShareReader, count_steps_back, cover_all, read_low_numbers

RING = encode_ring("t", 16, qos=0, count=4 * NEAR)
PERIOD = RING.count


def packets(*numbers: int) -> bytes:
    size = RING.packet_bytes
    return b"".join(RING.data[number * size : (number + 1) * size] for number in numbers)


@pytest.fixture
def members() -> Iterator[list[tuple[ShareReader, socket.socket]]]:
    pairs = [socket.socketpair() for _ in range(2)]
    yield [(ShareReader(near, RING), far) for near, far in pairs]
    for pair in pairs:
        for each in pair:
            each.close()


def test_numbers_are_read_by_columns() -> None:
    assert read_low_numbers(bytearray(packets(0, 255, 256, 16_383)), RING) == [0, 255, 256, 16_383]


@pytest.mark.parametrize(
    ("numbers", "steps_back"),
    [
        ([0, 1, 5, 9_000], 0),
        ([PERIOD - 2, PERIOD - 1, 0, 3], 0),  # the ring begins anew
        ([5, 4], 1),
        ([3, PERIOD - 1], 1),  # from before it began anew
        ([0, 1, 0, 1], 1),
    ],
)
def test_a_step_back_is_told_from_a_new_beginning(numbers: list[int], steps_back: int) -> None:
    assert count_steps_back(numbers, PERIOD) == steps_back


def test_each_message_must_come_to_exactly_one(
    members: list[tuple[ShareReader, socket.socket]],
) -> None:
    (first, to_first), (second, to_second) = members
    to_first.sendall(packets(0, 2))
    to_second.sendall(packets(1, 3))
    for reader, _ in members:
        reader.read()
    readers = [first, second]
    assert cover_all(readers, 4)
    assert (first.received, first.disordered, second.disordered) == (2, 0, 0)
    assert not cover_all(readers, 5)  # one is missing
    to_second.sendall(packets(4) + packets(4))
    second.read()
    assert not cover_all(readers, 5)  # one came twice
