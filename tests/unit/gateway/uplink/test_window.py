from hypothesis import given
from hypothesis import strategies as st

from gateway.uplink.window import Window


def test_the_watermark_waits_for_the_oldest() -> None:
    window = Window(3)
    for packet_id, row_id in ((1, 10), (2, 11), (3, 12)):
        assert window.sent(packet_id, row_id)
    assert (window.room, window.cursor, window.watermark) == (0, 12, 0)
    assert not window.acknowledged(2)
    assert window.room == 0
    assert window.acknowledged(1)
    assert (window.room, window.watermark) == (2, 11)
    assert window.acknowledged(3)
    assert window.watermark == 12


def test_unknown_and_repeated_acknowledgements_change_nothing() -> None:
    window = Window(2)
    window.sent(1, 10)
    assert not window.acknowledged(9)
    assert window.acknowledged(1)
    assert not window.acknowledged(1)
    assert window.watermark == 10


def test_a_packet_id_in_use_is_noticed() -> None:
    window = Window(2)
    assert window.sent(1, 10)
    assert not window.sent(1, 11)
    assert window.cursor == 10


@given(st.permutations(range(20)))
def test_nothing_unacknowledged_is_ever_below_the_watermark(order: list[int]) -> None:
    window = Window(20)
    for number in range(20):
        window.sent(number, 100 + number)
    missing = set(range(20))
    for number in order:
        missing.discard(number)
        window.acknowledged(number)
        lowest = min(missing, default=20)
        assert window.watermark == (100 + lowest - 1 if lowest else 0)
