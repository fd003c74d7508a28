"""Defines the samples of metrics that a process reports; the gateway does not trust them."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from microservice.errors import ControlError

SERIES_LIMIT = 200  # of one process; each costs the gateway's memory and every scrape
BUCKETS_LIMIT = 16
TEXT_LIMIT = 64  # characters of a label's value
HELP_LIMIT = 120

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


class MetricKind(StrEnum):
    """The kinds of metrics, by the names of Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class MetricSample:
    """The value of one series at one time."""

    name: str
    kind: MetricKind
    help: str
    labels: Mapping[str, str] = field(default_factory=dict)
    value: float = 0.0  # the sum of a histogram
    buckets: tuple[tuple[float, int], ...] = ()  # upper bound and count of values up to it


def encode_samples(samples: tuple[MetricSample, ...]) -> list[Any]:
    """Return samples as values of JSON."""
    return [
        [one.name, one.kind.value, one.help, dict(one.labels), one.value, _bounds(one.buckets)]
        for one in samples
    ]


def decode_samples(values: Any) -> tuple[MetricSample, ...]:
    """Return the samples in values of JSON; ControlError when they are none."""
    if not isinstance(values, list) or len(values) > SERIES_LIMIT:
        raise ControlError(f"cannot read metrics: not a list of at most {SERIES_LIMIT} series")
    try:
        return tuple(_sample(*value) for value in values)
    except (TypeError, ValueError, AttributeError) as exc:
        raise ControlError(f"cannot read metrics: {exc}") from exc


def _bounds(buckets: tuple[tuple[float, int], ...]) -> list[list[Any]]:
    return [[None if math.isinf(bound) else bound, count] for bound, count in buckets]


def _sample(
    name: str, kind: str, text: str, labels: dict[str, str], value: float, buckets: list[Any]
) -> MetricSample:
    if not all(NAME.fullmatch(each) for each in (name, *labels)) or len(labels) > 8:
        raise ValueError("a name or label is not one")
    if not all(isinstance(v, str) and len(v) <= TEXT_LIMIT for v in labels.values()):
        raise ValueError("the value of a label is not a short text")
    if len(buckets) > BUCKETS_LIMIT:
        raise ValueError(f"more than {BUCKETS_LIMIT} buckets")
    return MetricSample(
        name, MetricKind(kind), str(text)[:HELP_LIMIT], labels, float(value),
        tuple((math.inf if bound is None else float(bound), int(n)) for bound, n in buckets),
    )  # fmt: skip
