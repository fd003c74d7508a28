"""The times of schedules, with clocks that the test sets."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from microservice.errors import ServiceError
from microservice.schedules.rules import Rule, parse_cron, parse_duration, parse_interval
from microservice.schedules.timetable import BACK_S, LATE_S, LOOK_S, Timetable

BERLIN = ZoneInfo("Europe/Berlin")


def unix(text: str, zone: ZoneInfo = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def local(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).astimezone(BERLIN).strftime("%d %H:%M:%S %z")


class World:
    """Both clocks, and a process that looks at them as the timetable asks for."""

    def __init__(
        self, wall: float, last_runs: dict[str, float] | None = None, **rules: Rule
    ) -> None:
        self.wall, self.mono, self.looks = wall, 1000.0, 0
        self.timetable = Timetable(rules)
        self.timetable.start(wall, self.mono, last_runs or {})

    def look(self) -> list[str]:
        self.looks += 1
        return self.timetable.take_due(self.wall, self.mono)

    def run(self, seconds: float) -> Iterator[tuple[str, float, float]]:
        """Yield name, wall time and monotonic time of each run."""
        end = self.mono + seconds
        while True:
            for name in self.look():
                yield name, self.wall, self.mono
            if self.mono >= end:
                return
            step = min(self.timetable.wait_s(self.wall, self.mono), end - self.mono)
            assert step > 0, "it spins"
            self.wall, self.mono = self.wall + step, self.mono + step


# case S13
@pytest.mark.parametrize(
    ("begin", "runs"),
    [
        ("2027-03-27 12:00", ["28 03:00:00 +0200", "29 02:30:00 +0200", "30 02:30:00 +0200"]),
        ("2027-10-30 12:00", ["31 02:30:00 +0200", "01 02:30:00 +0100", "02 02:30:00 +0100"]),
    ],
)
def test_a_nightly_run_happens_once_in_each_night_of_a_clock_change(
    begin: str, runs: list[str]
) -> None:
    here = World(unix(begin), nightly=parse_cron("30 2 * * *", "Europe/Berlin", "skip"))
    assert [local(wall) for _, wall, _ in here.run(3 * 86_400)] == runs


# case S13
@pytest.mark.parametrize("begin", ["2027-03-28 00:00", "2027-10-31 00:00"])
def test_an_interval_and_a_wildcard_never_pause_in_these_nights(begin: str) -> None:
    quarter = parse_cron("*/15 * * * *", "Europe/Berlin", "skip")
    here = World(unix(begin), often=parse_interval("15s"), quarter=quarter)
    runs = list(here.run(5 * 3600))
    often = [mono for name, _, mono in runs if name == "often"]
    quarters = [wall for name, wall, _ in runs if name == "quarter"]
    assert len(often) == 5 * 240
    assert {round(b - a, 6) for a, b in itertools.pairwise(often)} == {15.0}
    assert {b - a for a, b in itertools.pairwise(quarters)} == {900.0}


# case S14
@pytest.mark.parametrize(("missed", "caught_up"), [("skip", 0), ("once", 1)])
def test_a_clock_corrected_from_1970_makes_at_most_one_run_of_each(
    missed: str, caught_up: int
) -> None:
    here = World(
        7.0,
        five=parse_cron("*/5 * * * *", "Europe/Berlin", missed),
        nightly=parse_cron("30 2 * * *", "Europe/Berlin", missed),
        second=parse_interval(1),
        minutes=parse_interval("5m"),
    )
    before = list(here.run(30))
    assert [name for name, _, _ in before] == ["second"] * 30
    here.wall = unix("2027-01-15 10:03")
    looks = here.looks
    after = [name for name, _, _ in here.run(60)]
    assert after.count("five") == caught_up
    assert after.count("nightly") == caught_up
    assert after.count("second") == 60, "an interval follows no wall clock"
    assert after.count("minutes") == 0
    assert here.looks - looks < 60 + 60 / LOOK_S + 10, "it spins"
    later = [local(wall) for name, wall, _ in here.run(120) if name == "five"]
    assert later == ["15 10:05:00 +0100"]


# case S14
def test_a_correction_is_noticed_within_a_few_seconds() -> None:
    here = World(7.0, nightly=parse_cron("30 2 * * *", "UTC", "once"))
    assert here.timetable.wait_s(here.wall, here.mono) <= LOOK_S
    here = World(7.0, hourly=parse_interval("1h"))
    assert here.timetable.wait_s(here.wall, here.mono) == 3600.0, "an interval needs no look"


@pytest.mark.parametrize(("missed", "runs"), [("skip", 0), ("once", 1)])
def test_runs_that_were_due_while_the_process_was_away_are_made_up_for_by_policy(
    missed: str, runs: int
) -> None:
    nightly = parse_cron("30 2 * * *", "Europe/Berlin", missed)
    here = World(unix("2027-01-15 10:00"), {"nightly": unix("2027-01-12 02:30")}, nightly=nightly)
    assert here.look() == ["nightly"] * runs
    assert [local(wall) for _, wall, _ in here.run(86_400)] == ["16 02:30:00 +0100"]
    here = World(unix("2027-01-15 10:00"), {"nightly": unix("2027-01-15 02:30")}, nightly=nightly)
    assert here.look() == [], "none was missed"


def test_a_clock_that_is_set_back_repeats_no_run_and_stops_none() -> None:
    nightly = parse_cron("30 2 * * *", "Europe/Berlin", "once")
    here = World(unix("2027-01-15 02:00"), nightly=nightly)
    assert len(list(here.run(3600))) == 1
    here.wall -= 3600
    assert list(here.run(3600)) == [], "the run of this night is done"
    here.wall = unix("2019-05-01 02:00")  # further back than BACK_S: it was wrong before
    assert BACK_S < 86_400
    assert [local(wall) for _, wall, _ in here.run(3600)] == ["01 02:30:00 +0200"]


def test_a_late_look_makes_one_run_and_keeps_the_grid() -> None:
    minutely = parse_cron("* * * * *", "UTC", "skip")
    here = World(unix("2027-01-15 10:00", ZoneInfo("UTC")), often=parse_interval(2), m=minutely)
    here.wall, here.mono = here.wall + 60 + LATE_S - 1, here.mono + 61
    assert sorted(here.look()) == ["m", "often"]
    assert here.look() == []
    assert here.timetable.wait_s(here.wall, here.mono) == 1.0, "the next is on the grid"
    here.wall += 10 * 60
    assert here.look() == []
    assert here.timetable.missed == 1


@pytest.mark.parametrize("wall", [-1e12, -1.0, 0.0, 1e11, 1e15, 1e300])
def test_no_clock_breaks_a_timetable(wall: float) -> None:
    here = World(wall, nightly=parse_cron("30 2 * * *", "America/New_York", "once"))
    here.look()
    assert 0 < here.timetable.wait_s(here.wall, here.mono) <= LOOK_S
    here.wall = unix("2027-01-15 10:00")
    assert len(here.look()) <= 1
    assert len(list(here.run(86_400))) == 1


@pytest.mark.parametrize(
    ("text", "seconds"), [("15s", 15), ("500ms", 0.5), ("1.5 h", 5400), ("2d", 172_800), (3, 3)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("expression", "timezone", "missed", "why"),
    [
        ("61 * * * *", "UTC", "skip", "bad minute; the fields are minute, hour"),
        ("* * * *", "UTC", "skip", "wrong number of fields"),
        ("0 0 30 2 *", "UTC", "skip", "bad day-of-month"),
        ("0 0 * * *", "Europe/Nowhere", "skip", "knows no time zone 'Europe/Nowhere'"),
        ("0 0 * * *", "../etc/passwd", "skip", "knows no time zone"),
        ("0 0 * * *", "UTC", "twice", 'must be "skip" or "once"'),
    ],
)
def test_a_rule_that_cannot_be_is_named(
    expression: str, timezone: str, missed: str, why: str
) -> None:
    with pytest.raises(ServiceError, match=why):
        parse_cron(expression, timezone, missed)


@pytest.mark.parametrize("period", ["soon", "5", 0, -1, 0.01, float("nan"), "400d", "5 weeks"])
def test_a_period_that_cannot_be_is_refused(period: float | str) -> None:
    with pytest.raises(ServiceError, match=r"cannot (read duration|run every)"):
        parse_interval(period)
