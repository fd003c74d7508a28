"""Computes the times of schedules: intervals and cron expressions.

A cron expression follows Vixie's cron as Debian ships it, also in the nights of a clock change: a
run whose local time does not exist happens at the first time that does, and one whose local time
occurs twice happens at the first of them. An expression whose minute or hour begins with a star
counts real time instead, so that it neither pauses nor doubles its pace.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from microservice.errors import ServiceError

if TYPE_CHECKING:
    from cronsim import CronSim

LEAST_S, MOST_S = 0.1, 366 * 86_400.0
SOME_DAY = 1_700_000_000.0  # a valid expression is due some time after it

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


class Missed(StrEnum):
    """The treatment of runs that were due while the service, or the right time, was away."""

    SKIP = "skip"
    ONCE = "once"  # one run instead of all of them


@dataclass(frozen=True, slots=True)
class Interval:
    """Due each so many seconds of the monotonic clock, which no correction of the time moves."""

    period_s: float


@dataclass(frozen=True, slots=True)
class Cron:
    """Due when the local time matches an expression."""

    expression: str
    zone: ZoneInfo
    missed: Missed

    def next_after(self, unix: float) -> float | None:
        """Return the next unix time that is due; None when there is none in the next decades."""
        try:
            # in the second hour of an autumn night the library names a moment of the first one
            moments = (m.timestamp() for m in _simulation(self.expression, unix, self.zone))
            return next((moment for moment in moments if moment > unix), None)
        except (ValueError, OverflowError):  # the clock may say anything
            return None


Rule = Interval | Cron


def parse_interval(period: float | str) -> Interval:
    """Return the rule of a period: a number of seconds, or a text such as "15s", "5m", "1h"."""
    seconds = parse_duration(period)
    if not LEAST_S <= seconds <= MOST_S:
        raise ServiceError(f"cannot run every {period!r}: must be {LEAST_S:g} s to 366 days")
    return Interval(seconds)


def parse_duration(value: float | str) -> float:
    """Return a duration in seconds; ServiceError when it is none."""
    if isinstance(value, int | float):
        return float(value)
    found = _DURATION.fullmatch(value.strip())
    if found is None:
        raise ServiceError(f'cannot read duration {value!r}: must be like "15s", "5m", "1h", "1d"')
    return float(found[1]) * _UNITS[found[2]]


def parse_cron(expression: str, timezone: str, missed: str) -> Cron:
    """Return the rule of a cron expression; ServiceError names the fault."""
    from cronsim import CronSimError  # few services have one

    what = f"cannot run at {expression!r}"
    if missed not in tuple(Missed):
        raise ServiceError(f'{what}: missed = {missed!r}: must be "skip" or "once"')
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise ServiceError(f"{what}: this machine knows no time zone {timezone!r}") from exc
    rule = Cron(expression, zone, Missed(missed))
    try:
        _simulation(expression, SOME_DAY, zone)
    except CronSimError as exc:
        why = str(exc).lower()
        raise ServiceError(
            f"{what}: {why}; the fields are minute, hour, day of the month, month, day of the week"
        ) from exc
    if rule.next_after(SOME_DAY) is None:
        raise ServiceError(f"{what}: there is no such day")
    return rule


def _simulation(expression: str, unix: float, zone: ZoneInfo) -> "CronSim":
    from cronsim import CronSim

    return CronSim(expression, datetime.fromtimestamp(unix, UTC).astimezone(zone))
