import random
from itertools import islice

from gateway.backoff import delays


def test_pauses_double_up_to_the_cap_and_half_of_each_is_random() -> None:
    limits = [1, 2, 4, 8, 10, 10, 10]
    pauses = list(islice(delays(1, 10, random.Random(1)), len(limits)))
    assert all(limit / 2 <= pause <= limit for limit, pause in zip(limits, pauses, strict=True))
    assert pauses != list(islice(delays(1, 10, random.Random(2)), len(limits)))


def test_the_cap_holds_from_the_first_pause() -> None:
    assert next(delays(60, 5, random.Random(1))) <= 5


def test_pauses_never_end() -> None:
    assert all(15 <= pause <= 30 for pause in islice(delays(0.5, 30, random.Random(1)), 100, 3000))
