import pytest

from benchmarks.packets import encode_suback, encode_wide_ring
from benchmarks.retained import check_retained

RING = encode_wide_ring(["a/1", "a/2", "a/3"], 8, qos=0, retain=True)
SUBACK = encode_suback(0)
FIRST, SECOND, THIRD = (
    RING.data[number * RING.packet_bytes : (number + 1) * RING.packet_bytes] for number in range(3)
)


def test_all_may_come_in_any_order_around_the_suback() -> None:
    assert check_retained(SECOND + SUBACK + FIRST + THIRD, RING).is_exact


@pytest.mark.parametrize(
    ("received", "lost"),
    [
        (SUBACK + FIRST + SECOND, 1),
        (SUBACK + FIRST + FIRST + SECOND, 1),
        (SUBACK + FIRST + SECOND + b"\x30" + THIRD[1:], 0),  # not marked as retained
        (SUBACK + FIRST + SECOND + THIRD[:-1] + b"y", 0),
        (FIRST + SECOND + THIRD, 0),  # no SUBACK
    ],
)
def test_what_is_missing_repeated_or_changed_is_seen(received: bytes, lost: int) -> None:
    tally = check_retained(received, RING)
    assert not tally.is_exact
    assert tally.lost == lost
