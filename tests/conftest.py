"""Configures all tests: hypothesis, the share of slow tests, the end of a process."""

import os
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.share import SHARE, find_seed, leave_out, order_by_length, part_of

if TYPE_CHECKING:
    from tests.radio.virtual_radio import VirtualRadio

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
settings.register_profile(
    "slow", settings.get_profile("quick"), max_examples=part_of(1_500, least=300)
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_configure() -> None:
    """Choose the seed before other processes are started, so that they have the same."""
    find_seed()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the share and its seed, with -q too."""
    terminalreporter.write_line(
        f"share of slow tests: HECATE_TEST_SHARE={SHARE:g} HECATE_TEST_SEED={find_seed()}"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the share of the slow tests, long ones first."""
    left_out = leave_out(items)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        others = set(left_out)
        items[:] = [item for item in items if item not in others]
    order_by_length(items)


@pytest.fixture
def radio() -> Iterator["VirtualRadio"]:
    """Give a virtual Bluetooth radio of its own to a test."""
    from tests.radio.virtual_radio import VirtualRadio

    with VirtualRadio() as running:
        yield running


def find_left_thread() -> str | None:
    """Return the name of a thread for which Python would wait for ever; all had time to end."""
    for thread in threading.enumerate():
        if thread is threading.current_thread() or thread.daemon or thread.name.startswith(POOLS):
            continue
        thread.join(END_S)
        if thread.is_alive():
            return thread.name
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> Iterator[None]:
    """Fail the last test of a process when one of its tests left a thread behind."""
    yield
    if nextitem is None:
        name = find_left_thread()
        assert name is None, f"a test left the thread {name!r} running"


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """End all the same when a thread is left."""
    name = find_left_thread()
    if name is not None:
        sys.stderr.write(f"a test left the thread {name!r} running\n")
        sys.stderr.flush()
        os._exit(1)
