"""Prometheus reads the metrics of microservices."""

import math

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.sidecar.service_metrics import ServiceMetrics
from microservice.telemetry.samples import MetricKind, MetricSample

COUNTER, GAUGE, HISTOGRAM = MetricKind.COUNTER, MetricKind.GAUGE, MetricKind.HISTOGRAM


def scraped(samples: dict[str, tuple[MetricSample, ...]]) -> dict[tuple[str, ...], float]:
    registry = CollectorRegistry()
    registry.register(ServiceMetrics(samples))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items()))):
            sample.value
        for family in families for sample in family.samples
    }  # fmt: skip


def test_each_series_has_its_container() -> None:
    one = (
        MetricSample("readings", COUNTER, "Readings", {"room": "attic"}, 3),
        MetricSample("readings", COUNTER, "Readings", {}, 1),
        MetricSample("seconds", HISTOGRAM, "", {}, 2.5, ((0.1, 1), (math.inf, 2))),
    )
    two = (MetricSample("readings", COUNTER, "", {"container": "forged"}, 5),)
    found = scraped({"api-one": one, "api-two": two})
    readings = "hecate_service_readings_total"
    assert found == {
        (readings, "container=api-one", "room=attic"): 3,
        (readings, "container=api-one", "room="): 1,
        (readings, "container=api-two", "room="): 5,
        ("hecate_service_seconds_bucket", "container=api-one", "le=0.1"): 1,
        ("hecate_service_seconds_bucket", "container=api-one", "le=+Inf"): 2,
        ("hecate_service_seconds_count", "container=api-one"): 2,
        ("hecate_service_seconds_sum", "container=api-one"): 2.5,
    }


def test_two_services_may_use_one_name_for_different_kinds() -> None:
    found = scraped({
        "api-one": (MetricSample("level", GAUGE, "", {}, 1),),
        "api-two": (MetricSample("level", COUNTER, "", {}, 2),),
    })  # fmt: skip
    assert found == {
        ("hecate_service_level_counter_total", "container=api-two"): 2,
        ("hecate_service_level_gauge", "container=api-one"): 1,
    }
