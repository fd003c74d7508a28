"""Timetables whose wall clock jumps at any moment."""

from hypothesis import given, settings
from hypothesis import strategies as st

from microservice.schedules.rules import Missed, Rule, parse_cron, parse_interval
from microservice.schedules.timetable import BACK_S, LATE_S, Timetable

PERIOD_S = 7.0
RULES: dict[str, Rule] = {
    "interval": parse_interval(PERIOD_S),
    "skip": parse_cron("*/5 * * * *", "Europe/Berlin", "skip"),
    "once": parse_cron("30 2 * * *", "Europe/Berlin", "once"),
}
MOMENT = st.floats(1_790_000_000, 1_830_000_000)  # with four clock changes
# seconds that pass, and how far the wall clock is moved besides
STEP = st.tuples(st.floats(0, 600), st.one_of(st.just(0.0), st.floats(-1e9, 1e9)))


@settings(max_examples=300, deadline=None)
@given(MOMENT, st.lists(STEP, max_size=30))
def test_no_jump_makes_a_burst_or_a_pause(wall: float, steps: list[tuple[float, float]]) -> None:
    timetable, mono, runs = Timetable(RULES), 0.0, 0
    timetable.start(wall, mono, {})
    for seconds, jump in steps:
        mono, wall = mono + seconds, wall + seconds + jump
        due = timetable.take_due(wall, mono)
        assert len(due) == len(set(due)), "a schedule runs twice at one look"
        assert timetable.take_due(wall, mono) == [], "it is due again at once"
        assert timetable.wait_s(wall, mono) > 0
        runs += "interval" in due
        assert runs <= mono / PERIOD_S + 1e-6
        if seconds >= PERIOD_S:
            assert "interval" in due, "the wall clock stopped an interval"


@settings(max_examples=300, deadline=None)
@given(MOMENT, st.lists(st.floats(0, 3 * 3600), max_size=30))
def test_time_that_only_passes_runs_every_cron_job_once(wall: float, steps: list[float]) -> None:
    rule = parse_cron("*/5 * * * *", "Europe/Berlin", Missed.ONCE)
    timetable, mono, last = Timetable({"job": rule}), 0.0, wall
    timetable.start(wall, mono, {})
    for seconds in steps:
        mono, wall = mono + seconds, wall + seconds
        due_since = rule.next_after(last)
        assert due_since is not None
        assert timetable.take_due(wall, mono) == (["job"] if due_since <= wall else [])
        last = wall if due_since <= wall else last


@settings(max_examples=300, deadline=None)
@given(MOMENT, st.floats(0, BACK_S), st.lists(st.floats(0, LATE_S), max_size=60))
def test_a_clock_set_back_a_little_repeats_no_run(
    wall: float, back: float, steps: list[float]
) -> None:
    rule = parse_cron("*/5 * * * *", "Europe/Berlin", "skip")
    timetable, mono = Timetable({"job": rule}), 0.0
    timetable.start(wall, mono, {})
    slots = []
    for number, seconds in enumerate(steps):
        mono, wall = mono + seconds, wall + seconds - (back if number == 30 else 0)
        if timetable.take_due(wall, mono):
            slots.append(wall // 300)
    assert len(slots) == len(set(slots))
