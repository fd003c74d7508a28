"""A twin counts what time a process had."""

import os
import signal
import time

from tests.twin import Twin


def test_it_never_says_more_than_the_clock() -> None:
    began = time.monotonic()
    with Twin() as twin:
        time.sleep(0.1)
    assert 0 < twin.elapsed_s < time.monotonic() - began


def test_a_machine_that_stands_still_counts_for_nothing() -> None:
    with Twin() as twin:
        os.kill(twin._process.pid, signal.SIGSTOP)
        time.sleep(0.3)
    assert twin.elapsed_s < 0.2
