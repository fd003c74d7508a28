"""Exports a broker's counters to Prometheus; reads them at each scrape and keeps no copy.

registry.register(BrokerCollector(broker))
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from broker.server import Broker

PREFIX = "hecate_broker_"

# by field of Counters; a gateway exports the same names
GAUGES: Mapping[str, str] = {
    "connections": "MQTT clients connected now",
    "subscriptions": "Topic filters subscribed to now",
    "retained": "Retained messages held now",
    "queued_bytes": "Bytes of QoS 1 and 2 messages held for clients now",
}
COUNTERS: Mapping[str, str] = {
    "messages_received": "Messages received from MQTT clients",
    "messages_sent": "Messages sent to MQTT clients",
    "messages_dropped": "Messages that did not reach a client",
    "bytes_received": "Bytes received from MQTT clients",
    "bytes_sent": "Bytes sent to MQTT clients",
    "connects_received": "CONNECT packets received",
    "sessions_expired": "Sessions that ended because their client stayed away",
    "senders_held": "Times that a sender had to wait for the broker's log",
    "store_damages": "Places and sessions of the broker's log that could not be read at the start",
}
# by field of JournalStatus
STORE_GAUGES: Mapping[str, str] = {
    "log_bytes": "Bytes of the broker's log on the disk",
    "live_bytes": "Bytes of it that are still needed, about",
    "is_behind": "Whether senders are held because the log is behind",
    "is_full": "Whether messages are refused because the log cannot be written",
}
STORE_COUNTERS: Mapping[str, str] = {
    "written_bytes": "Bytes written to the broker's log",
    "commits": "Commits of the broker's log",
    "refused": "Messages and sessions that could not be stored",
}


class BrokerCollector(Collector):
    """Collects one broker; call it on the broker's loop."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def collect(self) -> Iterator[Metric]:
        """Yield everything as it is now."""
        broker, counters = self._broker, self._broker.counters
        gauges = broker.count()
        for name, text in GAUGES.items():
            yield GaugeMetricFamily(PREFIX + name, text, value=getattr(counters, name))
        for name, text in COUNTERS.items():
            yield CounterMetricFamily(PREFIX + name, text, value=getattr(counters, name))
        if broker.store is not None:
            yield from store_metrics(asdict(broker.store))
        accepted = "Connections accepted, MQTT or not"
        yield _count("connections_accepted", accepted, counters.connections_total)
        yield _gauge("retained_bytes", "Bytes of retained messages", gauges.retained_bytes)
        yield _gauge("unread_bytes", "Bytes that clients have not taken yet", broker.unread_bytes)
        yield _gauge(
            "messages_waiting", "QoS 1 and 2 messages behind those under way", gauges.waiting
        )
        yield _gauge("messages_in_flight", "QoS 1 and 2 messages under way", gauges.in_flight)
        yield _gauge("shared_subscriptions", "Subscriptions that share now", gauges.shared)
        sessions = GaugeMetricFamily(PREFIX + "sessions", "Sessions held now", labels=["client"])
        sessions.add_metric(["online"], gauges.online)
        sessions.add_metric(["away"], gauges.away)
        yield sessions
        yield _by_reason("dropped", "Messages that did not reach a client", counters.dropped)
        yield _by_reason("refused", "Requests and connections refused", counters.refused)


def store_metrics(status: Mapping[str, float]) -> Iterator[Metric]:
    """Yield what a journal's status says."""
    for name, text in STORE_GAUGES.items():
        yield _gauge(f"store_{name.removeprefix('is_')}", text, float(status[name]))
    for name, text in STORE_COUNTERS.items():
        yield _count(f"store_{name}", text, status[name])


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, text, value=value)


def _count(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(PREFIX + name, text, value=value)


def _by_reason(name: str, text: str, counts: Counter[str]) -> Metric:
    family = CounterMetricFamily(PREFIX + name, text, labels=["reason"])
    for reason, count in counts.items():
        family.add_metric([reason], count)
    return family
