"""Numbers of the cloud, for Prometheus."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, fields

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from broker import Broker
from broker.metrics import store_metrics

SEP_BUCKETS_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
# What rises and falls; every other counter of the broker only rises.
BROKER_GAUGES = frozenset({"connections", "subscriptions", "retained", "queued_bytes"})


class Metrics:
    """The cloud's own counters, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self.requests = self._counter("http_requests", "HTTP requests", "service", "status")
        self.sep_requests = self._counter("sep_requests", "Requests to nodes", "outcome")
        self.sep_strays = self._counter("sep_strays", "Envelopes that answered no open request")
        self.tokens_issued = self._counter("tokens_issued", "Access tokens given", "kind")
        self.tokens_refused = self._counter("tokens_refused", "Tokens not accepted", "where")
        self.registrations = self._counter("node_registrations", "Node records stored")
        self.commands_refused = self._counter(
            "commands_refused", "Commands that their node's queue had no room for"
        )
        self.beps_placed = self._counter("beps_placed", "BEPs made")
        self.sep_seconds = Histogram(
            "hecate_sep_seconds",
            "Time that requests to nodes took",
            buckets=SEP_BUCKETS_S,
            registry=self.registry,
        )

    def watch(self, name: str, what: str, read: Callable[[], float]) -> None:
        """Show a number that is read when someone looks."""
        Gauge(f"hecate_{name}", what, registry=self.registry).set_function(read)

    def watch_broker(self, broker: Broker) -> None:
        """Show the broker's counters."""
        self.registry.register(_BrokerCollector(broker))

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"hecate_{name}", what, labels, registry=self.registry)


class _BrokerCollector(Collector):
    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def collect(self) -> Iterator[Metric]:
        counters = self._broker.counters
        for name in (field.name for field in fields(counters)):
            value, what = getattr(counters, name), f"MQTT: {name.replace('_', ' ')}"
            full = f"hecate_broker_{name.removesuffix('_total')}"
            if not isinstance(value, int):
                family = CounterMetricFamily(f"{full}_by_reason", what, labels=["reason"])
                for reason, count in value.items():
                    family.add_metric([reason], count)
                yield family
            elif name in BROKER_GAUGES:
                yield GaugeMetricFamily(full, f"{what} now", value=value)
            else:
                yield CounterMetricFamily(full, f"{what} since start", value=value)
        if self._broker.store is not None:
            yield from store_metrics(asdict(self._broker.store))
