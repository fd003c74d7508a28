"""Converts the state of the Bluetooth radio into Prometheus metrics."""

from collections.abc import Iterator
from typing import Any

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

_SCANNER = {
    "heard": "Advertisements heard",
    "started": "Scanners started",
    "start_failed": "Scanners that did not start",
    "stop_failed": "Scanners that did not stop, and were given up",
    "silent": "Scanners replaced because they heard nothing",
    "adapter_restarts": "Times the adapter was switched off and on",
}
_COUNTERS = {
    "opened": "Links opened",
    "open_failed": "Links that could not be opened",
    "unproved": "Links ended because their device proved no key",
    "parked": "Links ended to make room for others",
    "lost": "Links that ended by themselves",
    "leaked_closed": "Links of the adapter that nobody used, closed",
    "dead_closed": "Links that ended without a word",
    "adapter_lost": "Times the adapter was gone",
    "strangers_refused": "Advertisements of strangers for whom there was no room",
    "abandoned_calls": "Calls of the Bluetooth system that never ended",
}


def radio_metrics(bluetooth: dict[str, Any]) -> Iterator[Metric]:
    """Yield the metrics of a radio; none when Bluetooth is not enabled."""
    if not bluetooth["enabled"]:
        return
    gauges = {
        "adapter_up": ("Whether an adapter can be used", bluetooth["adapter"] is not None),
        "scanning": ("Whether a scanner runs", bluetooth["scanner"]["is_scanning"]),
        "links": ("Links now", len(bluetooth["links"])),
        "waiting": ("Devices that wait for a link", len(bluetooth["waiting"])),
        "lost_bonds": ("Bonds that devices do not have any more", len(bluetooth["lost_bonds"])),
    }
    for name, (text, value) in gauges.items():
        yield GaugeMetricFamily(f"hecate_bluetooth_{name}", text, value=float(value))
    for name, text in _SCANNER.items():
        value = bluetooth["scanner"][name]
        yield CounterMetricFamily(f"hecate_bluetooth_scanner_{name}", text, value=value)
    for name, text in _COUNTERS.items():
        value = bluetooth["counters"][name]
        yield CounterMetricFamily(f"hecate_bluetooth_{name}", text, value=value)
