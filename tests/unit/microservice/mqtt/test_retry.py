import pytest

from microservice.mqtt.retry import RetryPolicy


def test_pauses_double_up_to_their_limit_and_end_with_the_last_try() -> None:
    policy = RetryPolicy(tries=5, first_delay_s=1.0, max_delay_s=3.0)
    assert [policy.delay_s(calls) for calls in range(1, 6)] == [1.0, 2.0, 3.0, 3.0, None]


@pytest.mark.parametrize(("tries", "delay"), [(1, None), (2, 1.0)])
def test_a_trigger_has_tries_of_its_own(tries: int, delay: float | None) -> None:
    assert RetryPolicy(tries=9).delay_s(1, tries) == delay


def test_a_thousand_tries_have_a_pause() -> None:
    assert RetryPolicy(tries=10_000).delay_s(5_000) == 60.0
