"""What all tests share: how hard hypothesis looks, that a missing peer fails in CI, a sure end."""

import os
import sys
import threading

import pytest
from hypothesis import HealthCheck, settings

END_S = 10.0  # for what tests started to end by itself
POOLS = ("asyncio_", "passwords", "store", "ThreadPoolExecutor")  # Python itself tells them to end

# No time limits: other things run on the machines that test. In CI the examples are always the
# same, so that a change is not stopped by what it did not bring; elsewhere they are new ones.
settings.register_profile(
    "quick",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    derandomize="CI" in os.environ,
)
settings.register_profile("slow", settings.get_profile("quick"), max_examples=1_500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Fail when a test left a thread behind: Python would wait for it for ever."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            if thread.name.startswith(POOLS):
                continue
            thread.join(END_S)
            if thread.is_alive():
                sys.stderr.write(f"a test left the thread {thread.name!r} running\n")
                sys.stderr.flush()
                os._exit(1)
