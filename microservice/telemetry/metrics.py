"""Counts what a service measures: counters, gauges and histograms."""

import bisect
import logging
import math
from collections.abc import Sequence
from typing import TypeVar

from microservice.errors import ServiceError
from microservice.telemetry.samples import (
    BUCKETS_LIMIT,
    NAME,
    SERIES_LIMIT,
    TEXT_LIMIT,
    MetricKind,
    MetricSample,
)

logger = logging.getLogger(__name__)

DEFAULT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

Labels = tuple[tuple[str, str], ...]
M = TypeVar("M", bound="ServiceMetric")


class ServiceMetric:
    """One metric of a service; each set of labels is a series of its own."""

    def __init__(self, registry: "MetricRegistry", name: str, kind: MetricKind, text: str) -> None:
        self.name, self.kind, self.help = name, kind, text
        self._registry = registry
        self._values: dict[Labels, float] = {}

    def samples(self) -> list[MetricSample]:
        """Return the present value of each series."""
        return [
            MetricSample(self.name, self.kind, self.help, dict(labels), value)
            for labels, value in self._values.items()
        ]

    def _series(self, labels: dict[str, object]) -> Labels | None:
        """Return the key of a series; None when there are too many."""
        key = tuple(sorted((name, str(value)[:TEXT_LIMIT]) for name, value in labels.items()))
        if key not in self._values:
            for name in labels:
                _check_name(name)
            if not self._registry.admit_series():
                return None
            self._values[key] = 0.0
        self._registry.changed = True
        return key


class CounterMetric(ServiceMetric):
    """A number that only grows: `handled.add()`, `handled.add(2, room="attic")`."""

    def add(self, amount: float = 1.0, **labels: object) -> None:
        """Add an amount to a series."""
        if amount < 0 or not math.isfinite(amount):
            raise ServiceError(f"cannot add {amount} to counter {self.name}: it only grows")
        key = self._series(labels)
        if key is not None:
            self._values[key] += amount


class GaugeMetric(ServiceMetric):
    """A number that goes up and down: `temperature.set(21.5, room="attic")`."""

    def set(self, value: float, **labels: object) -> None:
        """Set a series to a value."""
        key = self._series(labels)
        if key is not None:
            self._values[key] = float(value)


class HistogramMetric(ServiceMetric):
    """The distribution of a number: `seconds.observe(0.3)`."""

    def __init__(
        self, registry: "MetricRegistry", name: str, text: str, bounds: Sequence[float]
    ) -> None:
        super().__init__(registry, name, MetricKind.HISTOGRAM, text)
        self._bounds = [*bounds, math.inf]
        self._counts: dict[Labels, list[int]] = {}

    def observe(self, value: float, **labels: object) -> None:
        """Count a value."""
        key = self._series(labels)
        if key is not None:
            self._values[key] += value
            counts = self._counts.setdefault(key, [0] * len(self._bounds))
            counts[bisect.bisect_left(self._bounds, value)] += 1

    def samples(self) -> list[MetricSample]:
        """Return the present distribution of each series."""
        return [
            MetricSample(
                self.name, self.kind, self.help, dict(labels), value, self._cumulated(labels)
            )
            for labels, value in self._values.items()
        ]

    def _cumulated(self, labels: Labels) -> tuple[tuple[float, int], ...]:
        total, buckets = 0, []
        for bound, count in zip(self._bounds, self._counts[labels], strict=True):
            total += count
            buckets.append((bound, total))
        return tuple(buckets)


class MetricRegistry:
    """The metrics of one service, within a bounded number of series."""

    def __init__(self) -> None:
        self._metrics: dict[str, ServiceMetric] = {}
        self._series = 0
        self.changed = False  # since the caller set it to False
        self.refused = 0  # uses of series beyond the limit

    def counter(self, name: str, text: str) -> CounterMetric:
        """Make a counter."""
        return self._add(CounterMetric(self, name, MetricKind.COUNTER, text))

    def gauge(self, name: str, text: str) -> GaugeMetric:
        """Make a gauge."""
        return self._add(GaugeMetric(self, name, MetricKind.GAUGE, text))

    def histogram(self, name: str, text: str, bounds: Sequence[float]) -> HistogramMetric:
        """Make a histogram with upper bounds of its buckets."""
        if not 0 < len(bounds) < BUCKETS_LIMIT or list(bounds) != sorted(set(bounds)):
            raise ServiceError(
                f"cannot make metric {name!r}: needs 1 to {BUCKETS_LIMIT - 1} growing buckets"
            )
        return self._add(HistogramMetric(self, name, text, bounds))

    def samples(self) -> tuple[MetricSample, ...]:
        """Return the present values of all series."""
        return tuple(sample for metric in self._metrics.values() for sample in metric.samples())

    def admit_series(self) -> bool:
        """Count a new series; return False when there are too many."""
        if self._series >= SERIES_LIMIT:
            if not self.refused:
                logger.warning("there are %d series of metrics: no more count", SERIES_LIMIT)
            self.refused += 1
            return False
        self._series += 1
        return True

    def _add(self, metric: M) -> M:
        _check_name(metric.name)
        if metric.name in self._metrics:
            raise ServiceError(f"cannot make metric {metric.name!r}: there is one of this name")
        self._metrics[metric.name] = metric
        return metric


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise ServiceError(f"cannot use {name!r} in a metric: a name is like rooms_too_warm")
