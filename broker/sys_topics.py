"""Publishes the broker's own figures in $SYS topics, under the names that Mosquitto uses.

Theory of operation
-------------------
Once an interval every value is formatted as text; only changed values are published. Loads are
moving averages per minute: after a time t an old value weighs exp(-t / window) and newer events
weigh the rest, as in the load averages of Unix. Nothing is counted for this while messages pass:
the bytes of PUBLISH packets are all bytes without those of other packets, which are few.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp

from broker.messages.topics import SYS
from broker.quota.counters import BrokerCounters

SYS_INTERVAL_S = 10.0  # default of Mosquitto
WINDOWS_S = {"1min": 60.0, "5min": 300.0, "15min": 900.0}
MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class SysTopicSettings:
    """The interval and the version text of $SYS reports."""

    interval_s: float = 0.0  # 0: never
    version: str = ""


@dataclass(frozen=True, slots=True)
class BrokerGauges:
    """Current totals; counted on demand, not while messages pass."""

    online: int = 0
    away: int = 0
    waiting: int = 0  # QoS 1 and 2 messages behind those in flight
    in_flight: int = 0  # QoS 1 and 2 messages sent and not acknowledged
    shared: int = 0  # subscriptions that share
    retained_bytes: int = 0


class SysTopics:
    """Makes the values of one broker's $SYS topics."""

    def __init__(self, counters: BrokerCounters, reporting: SysTopicSettings) -> None:
        self._counters = counters
        self._interval_s = reporting.interval_s
        self._version = reporting.version
        self._started: float | None = None
        self._last = 0.0
        self._most_online = 0
        self._totals: dict[str, int] = {}
        self._loads: dict[tuple[str, str], float] = {}
        self._published: dict[str, str] = {}

    def is_due(self, now: float) -> bool:
        """Return whether it is time to report."""
        if not self._interval_s:
            return False
        return self._started is None or now - self._last >= self._interval_s

    def report(self, gauges: BrokerGauges, now: float) -> Iterator[tuple[str, bytes]]:
        """Yield topic and payload of values that have changed since the last report."""
        if self._started is None:
            self._started = self._last = now
        values = self._values(gauges, now)
        values |= self._measure_loads(now - self._last)
        self._last = now
        for name, value in values.items():
            if self._published.get(name) != value:
                self._published[name] = value
                yield SYS + "broker/" + name, value.encode()

    def _values(self, gauges: BrokerGauges, now: float) -> dict[str, str]:
        counters = self._counters
        self._most_online = max(self._most_online, gauges.online)
        held = counters.retained + gauges.waiting + gauges.in_flight
        held_bytes = gauges.retained_bytes + counters.queued_bytes
        numbers = {
            "clients/total": gauges.online + gauges.away,
            "clients/connected": gauges.online,
            "clients/active": gauges.online,
            "clients/disconnected": gauges.away,
            "clients/inactive": gauges.away,
            "clients/maximum": self._most_online,
            "clients/expired": counters.sessions_expired,
            "messages/received": counters.messages_received + counters.controls_received,
            "messages/sent": counters.messages_sent + counters.controls_sent,
            "messages/inflight": gauges.in_flight,
            "messages/stored": held,
            "store/messages/count": held,
            "store/messages/bytes": held_bytes,
            "store/damages": counters.store_damages,
            "publish/messages/received": counters.messages_received,
            "publish/messages/sent": counters.messages_sent,
            "publish/messages/dropped": counters.messages_dropped,
            # of whole packets
            "publish/bytes/received": counters.bytes_received - counters.control_bytes_received,
            "publish/bytes/sent": counters.bytes_sent - counters.control_bytes_sent,
            "bytes/received": counters.bytes_received,
            "bytes/sent": counters.bytes_sent,
            "subscriptions/count": counters.subscriptions - gauges.shared,
            "shared_subscriptions/count": gauges.shared,
            "retained messages/count": counters.retained,
        }
        # bytes not written yet, or of incomplete packets, must not make a value negative
        values = {name: str(max(number, 0)) for name, number in numbers.items()}
        started = now if self._started is None else self._started
        return values | {"version": self._version, "uptime": f"{int(now - started)} seconds"}

    def _measure_loads(self, passed_s: float) -> dict[str, str]:
        counters = self._counters
        totals = {
            "messages/received": counters.messages_received + counters.controls_received,
            "messages/sent": counters.messages_sent + counters.controls_sent,
            "publish/received": counters.messages_received,
            "publish/sent": counters.messages_sent,
            "publish/dropped": counters.messages_dropped,
            "bytes/received": counters.bytes_received,
            "bytes/sent": counters.bytes_sent,
            "sockets": counters.connections_total,
            "connections": counters.connects_received,
        }
        values = {}
        for name, total in totals.items():
            grown = total - self._totals.get(name, 0)
            for window, window_s in WINDOWS_S.items():
                load = self._loads.get((name, window), 0.0)
                if passed_s > 0:
                    a_minute = grown * MINUTE_S / passed_s
                    load = a_minute + exp(-passed_s / window_s) * (load - a_minute)
                self._loads[name, window] = load
                values[f"load/{name}/{window}"] = f"{load:.2f}"
        self._totals = totals
        return values
