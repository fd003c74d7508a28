from gateway.sensors.duplicates import RECENT_LIMIT, WINDOW_S, DuplicateFilter


def copies(found: DuplicateFilter, packet_id: int | None, at: float, **kind: bool) -> bool:
    return found.is_duplicate(packet_id, b"objects", at, has_events=kind.get("has_events", False))


def test_a_packet_id_tells_copies_from_packets() -> None:
    found = DuplicateFilter()
    assert [copies(found, 7, at) for at in (0.0, 0.5, 1.0)] == [False, True, True]
    assert not copies(found, 8, 1.1)
    assert copies(found, 7, 1.2)  # late
    assert not found.is_duplicate(None, b"other", 1.3, has_events=False)


def test_packet_ids_go_round() -> None:
    found = DuplicateFilter()
    assert [copies(found, number, 0.0) for number in (255, 0, 255, 1)] == [
        False, False, True, False,
    ]  # fmt: skip


def test_without_a_packet_id_equal_bytes_are_copies() -> None:
    found = DuplicateFilter()
    assert [copies(found, None, at) for at in (0.0, 1.0, WINDOW_S)] == [False, True, True]
    assert not found.is_duplicate(None, b"others", 1.0, has_events=False)
    assert copies(found, None, 1.0)  # two messages in turn


def test_a_value_that_does_not_change_is_published_again() -> None:
    for packet_id in (None, 3):
        found = DuplicateFilter()
        seen = [copies(found, packet_id, at * 2.5) for at in range(12)]
        assert seen.count(False) >= 4
        assert seen.count(True) >= 4


def test_one_press_that_is_sent_for_long_stays_one() -> None:
    for packet_id in (None, 3):
        found = DuplicateFilter()
        seen = [copies(found, packet_id, at * 2.5, has_events=True) for at in range(12)]
        assert seen == [False] + [True] * 11
        assert not copies(found, packet_id, 30.0 + WINDOW_S, has_events=True)


def test_few_packets_are_kept() -> None:
    found = DuplicateFilter()
    for number in range(100):
        found.is_duplicate(None, b"%d" % number, 0.0, has_events=True)
    assert len(found._recent) == RECENT_LIMIT
