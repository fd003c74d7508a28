"""Publishes at QoS 1 into stored sessions: time of a PUBACK at a fixed rate, and the highest rate.

Each of some publishers has one stored session that must get its messages, and gets them while the
run is on: a broker that is durable has to keep each message until that session has acknowledged it.
"""

from collections.abc import Callable
from dataclasses import replace
from time import perf_counter

from benchmarks.errors import PeerError
from benchmarks.generator import (
    LINGER_S,
    PAYLOAD_BYTES,
    POLL_S,
    Poll,
    Rig,
    connect_clients,
    grant,
    make_sender,
)
from benchmarks.measure import Meter, Sample, Tally, percentile
from benchmarks.packets import encode_ring
from benchmarks.streams import AckCounter, AckingReader
from benchmarks.transport import BenchConnection

RING_COUNT = 16_384
TICK_S = 0.0005  # at a fixed rate: what is due is sent this often, for the core is shared by 40

GAP = "generator away p99 ms"  # between two looks at its sockets
ACKNOWLEDGED = "acknowledged/s"
PERCENTILES = {
    "PUBACK p50 ms": 50.0,
    "PUBACK p90 ms": 90.0,
    "PUBACK p99 ms": 99.0,
    "PUBACK p99.9 ms": 99.9,
    "PUBACK max ms": 100.0,
}


class Lane:
    """One publisher and its stored session."""

    def __init__(self, number: int, connect: Callable[..., BenchConnection]) -> None:
        topic = f"durable/{number:03}"
        ring = encode_ring(topic, PAYLOAD_BYTES, qos=1, count=RING_COUNT)
        self.session = AckingReader(connect(f"kept{number}", (topic, 1), clean=False), ring)
        publisher = connect(f"pub{number}")
        self.sender, self.acks = make_sender(publisher, ring), AckCounter(publisher, ring)

    @property
    def confirmed(self) -> int:
        """Return how many messages are acknowledged and delivered."""
        return min(self.acks.received, self.session.received)

    @property
    def is_idle(self) -> bool:
        """Return whether nothing is under way."""
        return self.confirmed >= self.sender.granted


class Latencies:
    """Records how long after it was due each message was acknowledged; lanes take turns."""

    def __init__(self, start: float, rate: float, lanes: int) -> None:
        self.taken: list[tuple[float, float]] = []  # due, latency
        self._start, self._rate, self._lanes = start, rate, lanes

    def count_due(self, lane: int, now: float) -> int:
        """Return how many messages of a lane were due until now."""
        return max(0, int(((now - self._start) * self._rate - lane) // self._lanes) + 1)

    def acknowledge(self, lane: int, first: int, behind: int, now: float) -> None:
        """Note that messages of a lane, from first to before behind, were acknowledged."""
        step, due = self._lanes / self._rate, self._start + lane / self._rate
        self.taken += [(due + n * step, now - due - n * step) for n in range(first, behind)]

    def values(self, since: float) -> dict[str, float]:
        """Return percentiles in milliseconds of what was due since then."""
        ordered = sorted(latency for due, latency in self.taken if due >= since)
        if not ordered:
            return {}
        return {name: percentile(ordered, percent) * 1e3 for name, percent in PERCENTILES.items()}


def pace_durable(rig: Rig, *, rate: int, lanes: int) -> Sample:
    """Offer a fixed rate, whatever the broker does, and measure how late PUBACKs come."""
    with connect_clients(rig.endpoint) as connect, Poll() as poll:
        fleet = [Lane(number, connect) for number in range(lanes)]
        meter = rig.start_meter()
        latencies = Latencies(perf_counter(), rate, lanes)
        for number, lane in enumerate(fleet):
            poll.on_readable(lane.session.connection, lane.session.read)
            poll.on_readable(lane.acks.connection, _timed(lane, number, latencies))
        gaps, now = [0.0], meter.start
        while True:
            before, now = now, perf_counter()
            gaps.append(now - before)
            meter.advance(now, sum(lane.acks.received for lane in fleet))
            if meter.is_sending:
                for number, lane in enumerate(fleet):
                    lane.sender.granted = latencies.count_due(number, now)
            elif meter.is_over or all(lane.is_idle for lane in fleet):
                break
            _send_all(fleet, poll)
            poll.wait(TICK_S)
        poll.wait(LINGER_S)
    sample = _sample(meter, fleet)
    values = latencies.values(meter.start + rig.timing.warm_up_s)
    values[GAP] = percentile(sorted(gaps), 99) * 1e3
    return replace(sample, values={**sample.values, **values})


def flood_durable(rig: Rig, *, window: int, lanes: int) -> Sample:
    """Keep a window of messages under way on every lane."""
    with connect_clients(rig.endpoint) as connect, Poll() as poll:
        fleet = [Lane(number, connect) for number in range(lanes)]
        for lane in fleet:
            poll.on_readable(lane.session.connection, lane.session.read)
            poll.on_readable(lane.acks.connection, lane.acks.read)
        meter = rig.start_meter()
        while True:
            meter.advance(perf_counter(), sum(lane.acks.received for lane in fleet))
            if meter.is_sending:
                for lane in fleet:
                    grant(lane.sender, lane.confirmed, window)
            elif meter.is_over or all(lane.is_idle for lane in fleet):
                break
            _send_all(fleet, poll)
            poll.wait(POLL_S)
        poll.wait(LINGER_S)
    return _sample(meter, fleet)


def _timed(lane: Lane, number: int, latencies: Latencies) -> Callable[[], None]:
    def read() -> None:
        first = lane.acks.received
        lane.acks.read()
        latencies.acknowledge(number, first, lane.acks.received, perf_counter())

    return read


def _send_all(fleet: list[Lane], poll: Poll) -> None:
    for lane in fleet:
        if not lane.sender.send():
            poll.wake_when_writable(lane.sender.connection)


def _sample(meter: Meter, fleet: list[Lane]) -> Sample:
    tally = Tally(
        expected=sum(2 * lane.sender.granted for lane in fleet),
        received=sum(lane.acks.received + lane.session.received for lane in fleet),
        disordered=sum(lane.acks.disordered + lane.session.disordered for lane in fleet),
        is_cut=meter.is_cut,
    )
    if not any(lane.acks.received for lane in fleet):
        raise PeerError("cannot measure: nothing was acknowledged")
    return meter.sample(tally, unit=ACKNOWLEDGED)
