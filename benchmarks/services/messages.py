"""Measures handlers of MQTT messages: the time of one, and the throughput of many."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from benchmarks.errors import BenchmarkError
from benchmarks.measure import percentile
from benchmarks.services.figures import BARE, BARE_ASYNCIO, JAVASCRIPT, ServiceSize, beyond_peak
from benchmarks.services.gateways import BenchGateway, run_gateway
from benchmarks.services.handlers import RunningHandler, run_handler
from benchmarks.services.mqtt_load import HandlerLoad, LoadCounts, ProbeTime
from benchmarks.services.processes import cpu_s
from benchmarks.services.rivals.bare_sockets import probe_bare_sockets

PROBE_PAUSE_S = 0.004
WARM_UP_RATE = 500
SLOW_WARM_UP_RATE = 50
LOOK_S = 0.25
MICRO = 1e6


@contextmanager
def _running(
    subject: str, size: ServiceSize
) -> Iterator[tuple[BenchGateway, RunningHandler, HandlerLoad]]:
    """Run a gateway, a handler and a load that has warmed them up."""
    with run_gateway() as gateway, run_handler(subject, gateway) as handler:
        load = HandlerLoad(gateway.mqtt_port)
        try:
            load.run(SLOW_WARM_UP_RATE if subject == JAVASCRIPT else WARM_UP_RATE, size.warm_up_s)
            yield gateway, handler, load
        finally:
            load.close()


def measure_latency(subject: str, size: ServiceSize) -> Mapping[str, float]:
    """Return the time from a message to the one that its handler publishes, by QoS."""
    if subject in (BARE, BARE_ASYNCIO):
        return _measure_floor(size, with_asyncio=subject == BARE_ASYNCIO)
    values: dict[str, float] = {}
    with _running(subject, size) as (gateway, handler, load):
        for qos in (0, 1):
            before = cpu_s({gateway.pid}), cpu_s(handler.pids(), with_ended=True)
            times = load.probe(qos, size.probes, PROBE_PAUSE_S)
            after = cpu_s({gateway.pid}), cpu_s(handler.pids(), with_ended=True)
            whole = [each.received - each.sent for each in times]
            values[f"p50 µs, QoS {qos}"] = _percentile_us(whole, 50)
            values[f"p99 µs, QoS {qos}"] = _percentile_us(whole, 99)
            if handler.stamps:
                values |= _parts(times, qos)
            for place, used, had in zip(("gateway", "handler"), after, before, strict=True):
                values[f"CPU µs of the {place}, QoS {qos}"] = (used - had) / len(times) * MICRO
    return values


def _measure_floor(size: ServiceSize, *, with_asyncio: bool) -> dict[str, float]:
    """Return the times of the same hops without broker and handler; no QoS changes them."""
    times = probe_bare_sockets(size.probes, PROBE_PAUSE_S, with_asyncio=with_asyncio)
    return {
        f"p{percent} µs, QoS {qos}": _percentile_us(times, percent)
        for qos in (0, 1)
        for percent in (50, 99)
    }


def _parts(times: Sequence[ProbeTime], qos: int) -> dict[str, float]:
    """Return the times before and after the handler's first line."""
    return {
        f"until the handler runs: p50 µs, QoS {qos}": _percentile_us(
            [each.stamp - each.sent for each in times], 50
        ),
        f"from there to the subscriber: p50 µs, QoS {qos}": _percentile_us(
            [each.received - each.stamp for each in times], 50
        ),
    }


def measure_throughput(subject: str, size: ServiceSize) -> Mapping[str, float]:
    """Return what is handled at each rate, and what becomes of the rest."""
    values: dict[str, float] = {}
    counts: dict[int, LoadCounts] = {}
    rates = size.slow_rates if subject == JAVASCRIPT else size.rates
    with _running(subject, size) as (gateway, handler, load):
        held = _HeldMessages(gateway, handler.container_id)
        for rate in rates:
            before = cpu_s({gateway.pid}), cpu_s(handler.pids(), with_ended=True)
            with held.watched():
                one = counts[rate] = load.run(rate, size.seconds)
            after = cpu_s({gateway.pid}), cpu_s(handler.pids(), with_ended=True)
            values[f"handled/s at {rate:,}/s"] = one.handled_per_s
            values[f"accepted/s at {rate:,}/s"] = one.accepted_per_s
            for place, used, had in zip(("gateway", "handler"), after, before, strict=True):
                each = (used - had) / max(one.handled, 1) * MICRO
                values[f"CPU µs of the {place} at {rate:,}/s"] = each
        peak, share = beyond_peak({rate: one.handled_per_s for rate, one in counts.items()})
        values |= {"peak handled/s": peak, "lowest beyond the peak, of the peak": share}
        values["sent"] = sum(one.sent for one in counts.values())
        values["lost"] = values["sent"] - sum(one.handled for one in counts.values())
        values["repeated"] = sum(one.repeated for one in counts.values())
        if handler.container_id:
            values["dropped"] = gateway.container(handler.container_id)["dropped"]
            values["most messages held"] = held.most
    return values


class _HeldMessages:
    """Looks how many messages of publishers wait for their acknowledgement."""

    def __init__(self, gateway: BenchGateway, container_id: str) -> None:
        self.most = 0
        self._gateway, self._container_id = gateway, container_id

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Look now and then while this lasts."""
        over = threading.Event()

        def look() -> None:
            while not over.wait(LOOK_S):
                with suppress(BenchmarkError, OSError):
                    now = self._gateway.container(self._container_id)["messages"]["held"]
                    self.most = max(self.most, now)

        thread = threading.Thread(target=look if self._container_id else over.wait)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def _percentile_us(values: Sequence[float], percent: float) -> float:
    return percentile(sorted(values), percent) * MICRO
