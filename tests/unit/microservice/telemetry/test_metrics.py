"""A service measures, and the gateway accepts only well-formed samples."""

import json
import math
from typing import Any

import pytest

from microservice.errors import ControlError, ServiceError
from microservice.service import Service
from microservice.telemetry.samples import (
    SERIES_LIMIT,
    MetricKind,
    MetricSample,
    decode_samples,
    encode_samples,
)


def test_counters_gauges_and_histograms_are_sampled_with_their_labels() -> None:
    service = Service()
    readings = service.counter("readings", "Readings taken")
    warmth = service.gauge("warmth")
    seconds = service.histogram("seconds", buckets=(0.1, 1))
    readings.add()
    readings.add(2, room="attic")
    warmth.set(21.5, room="attic")
    warmth.set(20, room="attic")
    for value in (0.05, 0.1, 0.5, 30):
        seconds.observe(value)
    assert service.metrics.samples() == (
        MetricSample("readings", MetricKind.COUNTER, "Readings taken", {}, 1.0),
        MetricSample("readings", MetricKind.COUNTER, "Readings taken", {"room": "attic"}, 2.0),
        MetricSample("warmth", MetricKind.GAUGE, "", {"room": "attic"}, 20.0),
        MetricSample(
            "seconds", MetricKind.HISTOGRAM, "", {}, 30.65, ((0.1, 2), (1.0, 3), (math.inf, 4))
        ),
    )
    assert service.metrics.changed


def test_samples_come_through_json_unchanged() -> None:
    service = Service()
    service.counter("a", "x").add(3, room="é")
    service.histogram("b").observe(1)
    samples = service.metrics.samples()
    assert decode_samples(json.loads(json.dumps(encode_samples(samples)))) == samples


def test_the_number_of_series_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    service = Service()
    seen = service.counter("seen")
    for number in range(SERIES_LIMIT + 50):
        seen.add(device=number)
    seen.add(device=0)
    samples = service.metrics.samples()
    assert len(samples) == SERIES_LIMIT
    assert samples[0].value == 2.0
    assert service.metrics.refused == 50
    assert caplog.text.count("there are 200 series of metrics") == 1
    other = service.gauge("other")
    other.set(1)
    assert len(service.metrics.samples()) == SERIES_LIMIT


def test_what_cannot_be_measured_is_refused() -> None:
    service = Service()
    counter = service.counter("a")
    with pytest.raises(ServiceError, match="it only grows"):
        counter.add(-1)
    with pytest.raises(ServiceError, match="there is one of this name"):
        service.gauge("a")
    for name in ("", "With Capitals", "ö", "x" * 65):
        with pytest.raises(ServiceError, match="in a metric"):
            service.gauge(name)
    with pytest.raises(ServiceError, match="in a metric"):
        counter.add(**{"not a label": 1})
    with pytest.raises(ServiceError, match="growing buckets"):
        service.histogram("c", buckets=(2, 1))


@pytest.mark.parametrize(
    "values",
    [
        {},
        [[]],
        [["a", "counter", "", {}, 1.0]],
        [["A b", "counter", "", {}, 1.0, []]],
        [["a", "summary", "", {}, 1.0, []]],
        [["a", "gauge", "", {"l": "x" * 65}, 1.0, []]],
        [["a", "gauge", "", {"l": 1}, 1.0, []]],
        [["a", "gauge", "", [], "much", []]],
        [["a", "gauge", "", None, 1.0, []]],
        [["a", "histogram", "", {}, 1.0, [[1, 2, 3]]]],
        [["a", "histogram", "", {}, 1.0, [[1, 2]] * 17]],
        [["a", "gauge", "", {}, 1.0, []]] * (SERIES_LIMIT + 1),
    ],
)
def test_a_gateway_refuses_samples_that_are_none(values: Any) -> None:
    with pytest.raises(ControlError, match="cannot read metrics"):
        decode_samples(values)
