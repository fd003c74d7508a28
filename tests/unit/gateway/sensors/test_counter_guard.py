import pytest

from gateway.sensors.counter_guard import RESERVE, SAME_LIMIT, CounterGuard, CounterVerdict

NEW, REPEATED = CounterVerdict.NEW, CounterVerdict.REPEATED
LATE, WENT_BACK = CounterVerdict.LATE, CounterVerdict.WENT_BACK
STARTS = [(154553, 148), (65531, 19911)]


def judge(guard: CounterGuard, *counters: int) -> list[CounterVerdict]:
    return [guard.judge(counter, b"%d" % counter) for counter in counters]


# case L8
@pytest.mark.parametrize(("last", "lower"), STARTS)
def test_a_counter_that_went_back_counts_after_the_owner_resumes_it(last: int, lower: int) -> None:
    guard = CounterGuard()
    assert judge(guard, last, lower, lower + 1, lower + 2) == [NEW, WENT_BACK, WENT_BACK, WENT_BACK]
    assert guard.lower == lower + 2
    assert guard.resume()
    assert not guard.resume()
    assert judge(guard, lower + 2, lower + 3) == [REPEATED, NEW]


def test_a_counter_that_rises_above_the_last_one_ends_the_doubt() -> None:
    guard = CounterGuard()
    assert judge(guard, 5000, 10, 5001) == [NEW, WENT_BACK, NEW]
    assert guard.lower is None
    assert not guard.resume()


def test_frames_of_one_counter_count_once_each() -> None:
    guard = CounterGuard()
    guard.judge(7, b"a")
    assert guard.judge(7, b"b") is NEW  # two messages under one counter
    assert [guard.judge(7, body) for body in (b"a", b"b")] == [REPEATED] * 2
    many = [guard.judge(7, b"%d" % number) for number in range(10)]
    assert many.count(NEW) == SAME_LIMIT - 2


def test_a_counter_a_little_below_is_late() -> None:
    guard = CounterGuard()
    assert judge(guard, 100, 100 - RESERVE, 100 - RESERVE - 1) == [NEW, LATE, WENT_BACK]


@pytest.mark.parametrize("is_exact", [True, False])
def test_no_frame_counts_twice_over_a_restart(*, is_exact: bool) -> None:
    guard, stored = CounterGuard(), -1
    for counter in range(1000, 1100):
        guard.judge(counter, b"")
        floor = guard.floor_to_store(is_exact=is_exact)
        if floor is not None:
            stored = floor
            guard.note_stored(floor)
        after = CounterGuard(stored)  # as after a power cut
        assert after.judge(counter, b"") is not NEW
        assert NEW not in judge(CounterGuard(stored), *range(1000, counter + 1))
        assert WENT_BACK not in judge(CounterGuard(stored), counter)
        assert judge(CounterGuard(stored), counter + RESERVE + 1) == [NEW]


def test_floors_are_written_seldom() -> None:
    guard, writes = CounterGuard(), 0
    for counter in range(10_000):
        guard.judge(counter, b"")
        floor = guard.floor_to_store(is_exact=False)
        if floor is not None:
            writes += 1
            guard.note_stored(floor)
    assert writes == pytest.approx(10_000 / (RESERVE + 1), abs=1)


def test_a_stop_stores_the_exact_counter_once() -> None:
    guard = CounterGuard()
    assert guard.floor_to_store(is_exact=True) is None  # nothing was heard
    guard.judge(50, b"")
    guard.note_stored(50 + RESERVE)
    assert guard.floor_to_store(is_exact=False) is None
    assert guard.floor_to_store(is_exact=True) == 50
    guard.note_stored(50)
    assert guard.floor_to_store(is_exact=True) is None
    assert judge(CounterGuard(50), 50, 51) == [REPEATED, NEW]
