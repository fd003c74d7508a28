import time

from hardware.boot_clock import boot_time


def test_it_counts_seconds_from_the_start_of_the_machine() -> None:
    began, monotonic = boot_time(), time.monotonic()
    assert began >= monotonic - 1.0  # a machine that has slept is older
    while boot_time() == began:
        pass
    assert 0 < boot_time() - began < 60
