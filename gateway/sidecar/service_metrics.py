"""Turns what the services of containers measure into Prometheus metrics.

Each name gets the prefix `hecate_service_`, each series the label `container`. Two services may use
one name for different kinds of metrics; the kind is then part of the name.
"""

import math
from collections.abc import Iterator, Mapping

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from microservice.telemetry.samples import MetricKind, MetricSample

PREFIX = "hecate_service_"


class ServiceMetrics(Collector):
    """The samples of all containers."""

    def __init__(self, samples: Mapping[str, tuple[MetricSample, ...]]) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Metric]:
        """Yield one family for each name and kind."""
        families: dict[tuple[str, MetricKind], list[tuple[str, MetricSample]]] = {}
        kinds: dict[str, set[MetricKind]] = {}
        for container_id, samples in self._samples.items():
            for sample in samples:
                families.setdefault((sample.name, sample.kind), []).append((container_id, sample))
                kinds.setdefault(sample.name, set()).add(sample.kind)
        for (name, kind), found in sorted(families.items()):
            suffix = f"_{kind}" if len(kinds[name]) > 1 else ""
            yield _family(f"{PREFIX}{name}{suffix}", kind, found)


def _family(name: str, kind: MetricKind, found: list[tuple[str, MetricSample]]) -> Metric:
    text = found[0][1].help or name
    labels = sorted({label for _, sample in found for label in sample.labels} - {"container"})
    names = ["container", *labels]
    if kind is MetricKind.HISTOGRAM:
        histogram = HistogramMetricFamily(name, text, labels=names)
        for container_id, sample in found:
            buckets = [(_bound(bound), float(count)) for bound, count in sample.buckets]
            histogram.add_metric(_values(container_id, sample, labels), buckets, sample.value)
        return histogram
    family: CounterMetricFamily | GaugeMetricFamily
    if kind is MetricKind.COUNTER:
        family = CounterMetricFamily(name, text, labels=names)
    else:
        family = GaugeMetricFamily(name, text, labels=names)
    for container_id, sample in found:
        family.add_metric(_values(container_id, sample, labels), sample.value)
    return family


def _values(container_id: str, sample: MetricSample, labels: list[str]) -> list[str]:
    return [container_id, *(sample.labels.get(label, "") for label in labels)]


def _bound(bound: float) -> str:
    return "+Inf" if math.isinf(bound) else f"{bound:g}"
