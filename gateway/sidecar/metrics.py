"""The snapshot as Prometheus metrics."""

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SEP_STATES = ("disabled", "offline", "connecting", "online", "refused")
_BROKER_GAUGES = {
    "connections": "MQTT clients connected now",
    "subscriptions": "Topic filters subscribed to now",
    "retained": "Retained messages held now",
}
_BROKER_COUNTERS = {
    "messages_received": "Messages received from MQTT clients",
    "messages_sent": "Messages sent to MQTT clients",
    "messages_dropped": "Messages that did not reach a client",
    "bytes_received": "Bytes received from MQTT clients",
    "bytes_sent": "Bytes sent to MQTT clients",
}
_STORE_GAUGES = {
    "log_bytes": "Bytes of the broker's log on the disk",
    "live_bytes": "Bytes of it that are still needed, about",
    "full": "Whether messages are refused because the log cannot be written",
}
_STORE_COUNTERS = {
    "written_bytes": "Bytes written to the broker's log",
    "commits": "Commits of the broker's log",
    "refused": "Messages and sessions that could not be stored",
}


def render(snapshot: dict[str, Any]) -> bytes:
    """Return the text that a scrape gets."""
    registry = CollectorRegistry()
    registry.register(_Snapshot(snapshot))
    return generate_latest(registry)


class _Snapshot(Collector):
    def __init__(self, snapshot: dict[str, Any]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        snapshot = self._snapshot
        yield _gauge("ready", "Whether the gateway is ready", snapshot["ready"])
        yield _gauge("uptime_seconds", "Since the start", snapshot["node"]["uptime_s"])
        yield _gauge("cluster_members", "Nodes of the cluster", snapshot["cluster"]["members"])
        for name, text in _BROKER_GAUGES.items():
            yield _gauge(f"broker_{name}", text, snapshot["broker"][name])
        for name, text in _BROKER_COUNTERS.items():
            yield _counter(f"broker_{name}", text, snapshot["broker"][name])
        yield from self._store()
        yield from self._sep()
        yield from self._devices()
        yield from self._beps()
        yield from self._containers()

    def _store(self) -> Iterator[Metric]:
        store = self._snapshot["broker"]["store"]
        if store is None:
            return
        for name, text in _STORE_GAUGES.items():
            yield _gauge(f"broker_store_{name}", text, store[name])
        for name, text in _STORE_COUNTERS.items():
            yield _counter(f"broker_store_{name}", text, store[name])

    def _sep(self) -> Iterator[Metric]:
        sep = self._snapshot["sep"]
        states = GaugeMetricFamily("hecate_sep_state", "1 for the state now", labels=["state"])
        for state in _SEP_STATES:
            states.add_metric([state], sep["state"] == state)
        yield states
        yield _gauge("spool_messages", "Messages kept for the cloud", sep["spool"]["messages"])
        yield _gauge("spool_bytes", "Bytes kept for the cloud", sep["spool"]["bytes"])
        yield _counter("spool_dropped", "Messages refused for the cloud", sep["spool"]["dropped"])

    def _devices(self) -> Iterator[Metric]:
        devices = self._snapshot["devices"]
        yield _gauge("devices", "Devices that joined", len(devices))
        yield _gauge("devices_online", "Devices connected now", sum(d["online"] for d in devices))

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
        for container in self._snapshot["containers"]:
            up.add_metric([container["id"]], container["state"] == "started")
            handled.add_metric([container["id"]], container["handled"])
        yield up
        yield handled


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"hecate_{name}", text, value=float(value))


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"hecate_{name}", text, value=float(value))
