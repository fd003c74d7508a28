"""Converts the snapshot into Prometheus metrics."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from broker.metrics import COUNTERS, GAUGES, store_metrics
from gateway.sidecar.devices.radio_metrics import radio_metrics
from gateway.sidecar.service_metrics import ServiceMetrics
from microservice.telemetry.samples import MetricSample

CONTENT_TYPE = CONTENT_TYPE_LATEST

NO_SAMPLES: Mapping[str, tuple[MetricSample, ...]] = MappingProxyType({})

_SEP_STATES = ("disabled", "offline", "connecting", "online", "refused")


def render(
    snapshot: dict[str, Any], samples: Mapping[str, tuple[MetricSample, ...]] = NO_SAMPLES
) -> bytes:
    """Return the text that a scrape gets; samples are those of each container's service."""
    registry = CollectorRegistry()
    registry.register(_Snapshot(snapshot))
    registry.register(ServiceMetrics(samples))
    return generate_latest(registry)


def broker_metrics(broker: dict[str, Any]) -> Iterator[Metric]:
    """Yield the broker's part, by the names of a broker that runs alone."""
    for name, value in broker.items():
        if name in GAUGES:
            yield _gauge(f"broker_{name}", GAUGES[name], value)
        if name in COUNTERS:
            yield _counter(f"broker_{name}", COUNTERS[name], value)


class _Snapshot(Collector):
    def __init__(self, snapshot: dict[str, Any]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        snapshot = self._snapshot
        yield _gauge("ready", "Whether the gateway is ready", snapshot["ready"])
        yield _gauge("uptime_seconds", "Since the start", snapshot["node"]["uptime_s"])
        yield _gauge("cluster_members", "Nodes of the cluster", snapshot["cluster"]["members"])
        yield from broker_metrics(snapshot["broker"])
        if snapshot["broker"]["store"] is not None:
            yield from store_metrics(snapshot["broker"]["store"])
        for name, value in snapshot["api"].items():
            kind = _gauge if name == "connections" else _counter
            yield kind(f"api_{name}", f"HTTP: {name.replace('_', ' ')}", value)
        yield from self._sep()
        yield from self._devices()
        yield from radio_metrics(snapshot["bluetooth"])
        yield from self._sensors()
        yield from self._beps()
        yield from self._containers()

    def _sep(self) -> Iterator[Metric]:
        sep = self._snapshot["sep"]
        states = GaugeMetricFamily("hecate_sep_state", "1 for the state now", labels=["state"])
        for state in _SEP_STATES:
            states.add_metric([state], sep["state"] == state)
        yield states
        yield _gauge("spool_messages", "Messages kept for the cloud", sep["spool"]["messages"])
        yield _gauge("spool_bytes", "Bytes kept for the cloud", sep["spool"]["bytes"])
        spool = sep["spool"]
        yield _gauge("spool_limit_bytes", "Bytes kept at most", spool["limit_bytes"])
        yield _gauge("spool_full", "Whether the spool takes no new messages", spool["full"])
        yield _counter("spool_dropped", "Messages that the cloud does not get", spool["dropped"])
        yield _counter("spool_refused", "Newest ones not kept, being full", spool["refused"])
        yield _counter(
            "spool_dropped_oldest", "Oldest ones deleted for new ones", spool["dropped_oldest"]
        )
        yield _gauge("spool_aside_messages", "Messages kept as set aside", spool["set_aside"])
        yield _counter("spool_set_aside", "Messages set aside", spool["set_aside_total"])
        yield _gauge(
            "cloud_clock_offset_seconds", "Cloud's clock less this one", sep["clock"]["offset_s"]
        )

    def _devices(self) -> Iterator[Metric]:
        devices = self._snapshot["devices"]
        yield _gauge("devices", "Devices that joined", len(devices))
        yield _gauge("devices_online", "Devices connected now", sum(d["online"] for d in devices))

    def _sensors(self) -> Iterator[Metric]:
        sensors = self._snapshot["sensors"]
        yield _gauge("sensor_strangers", "Sensors not accepted", sensors["strangers"])
        frames = CounterMetricFamily(
            "hecate_sensor_frames", "Frames of sensors by their result", labels=["result"]
        )
        for result, count in sorted(sensors["frames"].items()):
            frames.add_metric([result], count)
        yield frames

    def _beps(self) -> Iterator[Metric]:
        beps = self._snapshot["beps"]
        yield _gauge("beps", "BEPs open now", len(beps))
        yield _gauge("bep_visitors", "Visitors of BEPs now", sum(b["visitors"] for b in beps))

    def _containers(self) -> Iterator[Metric]:
        up = GaugeMetricFamily(
            "hecate_container_up", "Whether a container runs", labels=["container"]
        )
        handled = CounterMetricFamily(
            "hecate_container_handled", "Triggers handled", labels=["container"]
        )
        failed = CounterMetricFamily(
            "hecate_container_failed", "Handlers that failed for good", labels=["container"]
        )
        dropped = CounterMetricFamily(
            "hecate_container_dropped", "Messages it could not take in time", labels=["container"]
        )
        waiting = GaugeMetricFamily(
            "hecate_container_messages_waiting", "Messages not handled yet", labels=["container"]
        )
        held = GaugeMetricFamily(
            "hecate_container_publishers_held",
            "Messages whose publishers wait for their acknowledgement",
            labels=["container"],
        )
        letters = GaugeMetricFamily(
            "hecate_container_dead_letters", "Dead letters kept", labels=["container"]
        )
        restarts = CounterMetricFamily(
            "hecate_container_restarts", "Processes that ended unasked", labels=["container"]
        )
        refused = CounterMetricFamily(
            "hecate_container_network_refused",
            "Requests to what the manifest does not allow",
            labels=["container"],
        )
        for container in self._snapshot["containers"]:
            refused.add_metric([container["id"]], container["network_refused"])
            restarts.add_metric([container["id"]], container["restarts"])
            up.add_metric([container["id"]], container["state"] == "started")
            handled.add_metric([container["id"]], container["handled"])
            failed.add_metric([container["id"]], container["failed"])
            dropped.add_metric([container["id"]], container["dropped"])
            messages = container["messages"]
            waiting.add_metric([container["id"]], messages["waiting"] + messages["in_flight"])
            held.add_metric([container["id"]], messages["held"])
            letters.add_metric([container["id"]], messages["dead_letters"])
        yield up
        yield from (handled, failed, dropped, waiting, held, letters, restarts, refused)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"hecate_{name}", text, value=float(value))


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"hecate_{name}", text, value=float(value))
