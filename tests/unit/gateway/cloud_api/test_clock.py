import math
from datetime import UTC, datetime
from email.utils import format_datetime

from hypothesis import given
from hypothesis import strategies as st

from gateway.cloud_api.clock import CloudClock


class Clocks:
    def __init__(self, wall: float) -> None:
        self.wall, self.monotonic = wall, 50.0
        self.cloud = CloudClock(lambda: self.wall, lambda: self.monotonic)

    def pass_s(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


def date(at: float) -> str:
    return format_datetime(datetime.fromtimestamp(math.floor(at), UTC), usegmt=True)


# case G11
@given(
    st.floats(-1e8, 1e8),
    st.floats(0, 5),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_the_difference_is_found_within_what_an_answer_tells(
    offset_s: float, took_s: float, part: float, age_s: float
) -> None:
    clocks = Clocks(1_800_000_000.0)
    made_at = clocks.wall + offset_s - took_s * part - age_s * 0.99
    clocks.cloud.measure(date(made_at), took_s)
    assert abs(clocks.cloud.offset_s - offset_s) <= 2.0 + took_s


def test_no_difference_is_exactly_none() -> None:
    clocks = Clocks(1_800_000_000.7)
    for later in range(10):
        clocks.pass_s(0.1 * later)
        clocks.cloud.measure(date(clocks.wall - 0.05), 0.1)
        assert clocks.cloud.offset_s == 0.0
    assert clocks.cloud.describe() == ""


def test_the_difference_follows_a_clock_that_is_set() -> None:
    clocks = Clocks(1_800_000_600.5)
    clocks.cloud.measure(date(1_800_000_000.5), 0.0)
    assert abs(clocks.cloud.offset_s + 600) < 2
    assert "ahead of the cloud's" in clocks.cloud.describe()
    clocks.pass_s(100)
    clocks.wall -= 600  # NTP
    assert abs(clocks.cloud.offset_s) < 2
    assert abs(clocks.cloud.now() - 1_800_000_100.5) < 2


def test_what_is_no_date_or_came_late_changes_nothing() -> None:
    clocks = Clocks(1_800_000_000.0)
    for text in ("", "yesterday", "Mon, 99 Foo 2026 00:00:00 GMT", "9" * 400):
        clocks.cloud.measure(text, 0.0)
    clocks.cloud.measure(date(1_700_000_000.0), 11.0)
    assert not clocks.cloud.is_measured
    assert clocks.cloud.now() == clocks.wall
