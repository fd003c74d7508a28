import pytest

from benchmarks.latency import LATE, Schedule


def test_messages_are_due_at_a_fixed_rate_however_late_one_is_sent() -> None:
    schedule = Schedule(start=10.0, rate=100, count=3)
    assert schedule.take_due(9.999) is None
    assert schedule.take_due(10.0) == 0
    assert schedule.take_due(10.005) is None
    assert schedule.take_due(10.025) == 1  # 15 ms late
    assert schedule.take_due(10.025) == 2  # was due at 10.020
    assert schedule.take_due(99.0) is None


def test_latency_counts_from_the_instant_a_message_was_due() -> None:
    schedule = Schedule(start=10.0, rate=100, count=2)
    schedule.take_due(10.0)
    schedule.take_due(10.5)
    schedule.arrive(0, 10.001)
    schedule.arrive(1, 10.502)
    assert schedule.is_complete
    values = schedule.values(skipped=0)
    assert values["p50 µs"] == pytest.approx(1_000)
    assert values["max µs"] == pytest.approx(492_000)
    assert values[LATE] == pytest.approx(490_000)


def test_the_warm_up_is_left_out() -> None:
    schedule = Schedule(start=0.0, rate=10, count=2)
    for number, latency in enumerate((5.0, 0.25)):
        schedule.take_due(number / 10)
        schedule.arrive(number, number / 10 + latency)
    assert schedule.values(skipped=1)["max µs"] == pytest.approx(250_000)


def test_a_message_that_comes_twice_is_counted_twice_but_completes_nothing() -> None:
    schedule = Schedule(start=0.0, rate=10, count=2)
    schedule.take_due(0.0)
    schedule.take_due(0.1)
    schedule.arrive(0, 0.2)
    schedule.arrive(0, 0.3)
    assert schedule.arrived == 2
    assert not schedule.is_complete
