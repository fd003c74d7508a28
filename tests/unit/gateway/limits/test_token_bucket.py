import pytest

from gateway.limits.token_bucket import Rate, TokenBucket


def test_a_burst_is_taken_at_once_and_then_one_token_at_each_interval() -> None:
    bucket = TokenBucket(Rate(burst=3, interval_s=10.0))
    assert [bucket.take(50.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(59.0)
    assert bucket.take(60.5)
    assert not bucket.take(60.5)
    assert bucket.take(70.0)  # the half of a second counts


def test_a_bucket_holds_no_more_than_its_burst_after_any_time() -> None:
    bucket = TokenBucket(Rate(3, 10.0))
    for now in (0.0, 1e9):
        assert [bucket.take(now) for _ in range(4)] == [True, True, True, False]


def test_a_clock_that_goes_back_fills_nothing_and_does_not_stop_the_rate() -> None:
    bucket = TokenBucket(Rate(1, 10.0))
    assert bucket.take(1000.0)
    assert not bucket.take(0.0)
    assert bucket.take(10.0)


@pytest.mark.parametrize("start", [0.0, 1e6, -5.0])
def test_the_first_tokens_are_there_by_any_clock(start: float) -> None:
    assert TokenBucket(Rate(1, 10.0)).take(start)


def test_a_borrowed_token_is_waited_for() -> None:
    bucket = TokenBucket(Rate(2, 0.5))
    assert [bucket.borrow(1.0) for _ in range(4)] == [0.0, 0.0, 0.5, 1.0]
    assert bucket.borrow(3.0) == 0.0  # two of the four tokens that have come were owed
    assert bucket.borrow(3.0) == 0.0
    assert bucket.borrow(3.0) == 0.5
