from gateway.uplink.poison import SOON_S, PoisonDetector
from gateway.uplink.window import SentEntry


def rows(*numbers: int, at: float = 0.0) -> list[SentEntry]:
    return [SentEntry(number, number, at=at) for number in numbers]


# case G1
def test_after_a_break_rows_are_sent_alone_until_one_is_found() -> None:
    suspects = PoisonDetector()
    assert not suspects.is_sent_alone(0)
    assert suspects.broke(rows(3, 4, 5), 0x82, 0.0) is None
    assert suspects.is_sent_alone(2)
    assert suspects.is_sent_alone(4)
    assert not suspects.is_sent_alone(5)
    suspects.settle(3)
    found = suspects.broke(rows(4), 0x82, 0.0)
    assert found is not None
    assert found.row_id == 4


# case G1: a peer by MQTT 3.1.1, or one that crashes
def test_a_break_without_a_reason_counts_only_when_a_row_is_alone() -> None:
    suspects = PoisonDetector()
    assert suspects.broke(rows(3, 4, 5), None, 0.0) is None
    assert suspects.broke(rows(3), None, 0.0) is None
    assert suspects.is_sent_alone(2)
    suspects.settle(3)
    assert suspects.broke(rows(4), None, 0.0) is None
    found = suspects.broke(rows(4), None, 0.0)
    assert found is not None
    assert found.row_id == 4


def test_one_break_is_not_enough() -> None:
    suspects = PoisonDetector()
    assert suspects.broke(rows(1), None, 0.0) is None
    suspects.settle(1)  # it was the network
    assert suspects.broke(rows(2), None, 0.0) is None
    assert suspects.broke(rows(1), None, 0.0) is None


def test_breaks_that_no_row_causes_are_not_counted() -> None:
    suspects = PoisonDetector()
    for reason in (0x8B, 0x8D, 0x8E, 0xA0):  # shutting down, keep alive, taken over, token
        for _ in range(3):
            assert suspects.broke(rows(1), reason, 0.0) is None
    for _ in range(3):
        assert suspects.broke(rows(1), None, SOON_S + 1) is None
        assert suspects.broke([], None, 0.0) is None


def test_a_broker_that_is_full_for_all_accuses_nobody() -> None:
    suspects = PoisonDetector()
    assert suspects.refused_for_now(1, 5)
    for _ in range(5):
        suspects.begin()
        assert not suspects.refused_for_now(1, 1)
        assert suspects.waiting == 1
        assert suspects.refused_for_now(2, 2), "the one behind it is refused as well"


def test_a_row_that_waits_is_not_accused_of_a_break() -> None:
    suspects = PoisonDetector()
    suspects.refused_for_now(1, 1)
    suspects.refused_for_now(1, 1)
    assert suspects.broke(rows(1, 2), 0x82, 0.0) is None
    found = suspects.broke(rows(1, 2), 0x82, 0.0)
    assert found is not None
    assert found.row_id == 2
