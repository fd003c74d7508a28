from hypothesis import given
from hypothesis import strategies as st

from gateway.uplink.window import SendWindow, SentEntry


def test_the_watermark_waits_for_the_oldest() -> None:
    window = SendWindow(3, 1000)
    for packet_id, row_id in ((1, 10), (2, 11), (3, 12)):
        assert window.sent(SentEntry(packet_id, row_id))
    assert (window.free, window.cursor, window.watermark) == (0, 12, 0)
    assert not window.acknowledged(2)
    assert window.free == 0
    assert window.acknowledged(1)
    assert (window.free, window.watermark) == (2, 11)
    assert window.acknowledged(3)
    assert window.watermark == 12


def test_unknown_and_repeated_acknowledgements_change_nothing() -> None:
    window = SendWindow(2, 1000)
    window.sent(SentEntry(1, 10))
    assert not window.acknowledged(9)
    assert window.acknowledged(1)
    assert not window.acknowledged(1)
    assert window.watermark == 10


def test_a_packet_id_in_use_is_noticed() -> None:
    window = SendWindow(2, 1000)
    assert window.sent(SentEntry(1, 10))
    assert not window.sent(SentEntry(1, 11))
    assert window.cursor == 10


@given(st.permutations(range(20)))
def test_nothing_unacknowledged_is_ever_below_the_watermark(order: list[int]) -> None:
    window = SendWindow(20, 1000)
    for number in range(20):
        window.sent(SentEntry(number, 100 + number))
    missing = set(range(20))
    for number in order:
        missing.discard(number)
        window.acknowledged(number)
        lowest = min(missing, default=20)
        assert window.watermark == (100 + lowest - 1 if lowest else 0)


def test_bytes_on_their_way_are_bounded() -> None:
    window = SendWindow(10, 100)
    assert window.free_bytes == 100
    window.sent(SentEntry(1, 1, size=60))
    assert (window.free, window.free_bytes) == (9, 40)
    window.sent(SentEntry(2, 2, size=60))  # one is let through, however large
    assert window.free == 0
    assert window.acknowledged(1)
    assert window.free == 9


def test_what_is_skipped_raises_the_watermark_only_when_nothing_is_on_its_way() -> None:
    window = SendWindow(10, 100, cursor=4)
    assert (window.cursor, window.watermark) == (4, 4)
    assert window.skipped(5)
    assert window.watermark == 5
    window.sent(SentEntry(1, 6))
    assert not window.skipped(7)
    assert (window.cursor, window.watermark) == (7, 5)
    assert window.acknowledged(1)
    assert window.watermark == 6
