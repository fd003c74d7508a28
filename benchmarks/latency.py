"""Measures latency at a fixed rate, by percentiles.

Each latency counts from the instant the message was due, not from its send: a broker that holds
the sender up for a while must not look fast for it. The loop spins, so the load of the generator's
core says nothing here; how late the generator itself was is reported instead.
"""

import select
from time import perf_counter

from benchmarks.errors import PeerError
from benchmarks.generator import LINGER_S, PAYLOAD_BYTES, TOPIC, Poll, Rig, connect_clients
from benchmarks.measure import Sample, Tally, percentile
from benchmarks.packets import encode_payload, encode_publish, encode_ring
from benchmarks.streams import AckCounter, NumberReader
from benchmarks.transport import BrokerEndpoint

PERCENTILES = {"p50 µs": 50.0, "p90 µs": 90.0, "p99 µs": 99.0, "p99.9 µs": 99.9, "max µs": 100.0}
LATE = "generator late p99 µs"
TOPIC_OF_PROBE = "probe/0"
PROBE_PATIENCE_S = 15.0


class Schedule:
    """Records when each message is due, when it was sent and how long it took."""

    def __init__(self, start: float, rate: int, count: int) -> None:
        self.latencies: dict[int, float] = {}
        self.arrived = 0
        self.sent = 0
        self.late: list[float] = []
        self._start = start
        self._rate = rate
        self._count = count

    @property
    def is_complete(self) -> bool:
        """Return whether every message has arrived."""
        return self.sent == self._count and len(self.latencies) == self._count

    def take_due(self, now: float) -> int | None:
        """Return the number of the message to send now, if one is due."""
        due = self._start + self.sent / self._rate
        if self.sent == self._count or now < due:
            return None
        self.late.append(now - due)
        self.sent += 1
        return self.sent - 1

    def arrive(self, number: int, now: float) -> None:
        """Note that a message arrived."""
        self.arrived += 1
        self.latencies[number] = now - self._start - number / self._rate

    def wait_s(self, now: float) -> float:
        """Return how long it is until the next message is due."""
        return max(0.0, self._start + self.sent / self._rate - now)

    def values(self, skipped: int) -> dict[str, float]:
        """Return percentiles in microseconds, without the first messages."""
        ordered = sorted(taken for number, taken in self.latencies.items() if number >= skipped)
        late = sorted(self.late[skipped:])
        if not ordered or not late:
            return dict.fromkeys([*PERCENTILES, LATE], 0.0)
        values = {name: percentile(ordered, percent) * 1e6 for name, percent in PERCENTILES.items()}
        return values | {LATE: percentile(late, 99) * 1e6}


def pace(rig: Rig, *, rate: int) -> Sample:
    """Send single QoS 0 messages at a fixed rate from one publisher to one subscriber."""
    ring = encode_ring(TOPIC, PAYLOAD_BYTES, qos=0, count=1)
    skipped = int(rate * rig.timing.warm_up_s)
    with connect_clients(rig.endpoint) as connect, Poll() as poll:
        subscriber, publisher = connect("sub", (TOPIC, 0)), connect("pub")
        meter = rig.start_meter()
        count = skipped + int(rate * rig.timing.measure_s)
        schedule = Schedule(perf_counter(), rate, count)
        reader = NumberReader(
            subscriber, ring, lambda number: schedule.arrive(number, perf_counter())
        )
        poll.on_readable(subscriber, reader.read)
        while not schedule.is_complete:
            now = perf_counter()
            meter.advance(now, schedule.arrived)
            if meter.is_over:
                break
            if (number := schedule.take_due(now)) is not None:
                payload = encode_payload(number, PAYLOAD_BYTES)
                publisher.send(encode_publish(TOPIC, payload, qos=0))
            poll.wait(0)
        poll.wait(LINGER_S)
    return Sample(
        schedule.values(skipped), Tally(schedule.sent, schedule.arrived, is_cut=meter.is_cut)
    )


def probe_mqtt(endpoint: BrokerEndpoint, *, rate: int, seconds: float) -> list[float]:
    """Return the seconds from when each QoS 1 message was due to its delivery; does not spin."""
    count = int(rate * seconds)
    ring = encode_ring(TOPIC_OF_PROBE, PAYLOAD_BYTES, qos=1, count=count)
    with connect_clients(endpoint) as connect:
        subscriber, publisher = connect("probe-sub", (TOPIC_OF_PROBE, 1)), connect("probe-pub")
        acks, schedule = AckCounter(publisher, ring), Schedule(perf_counter(), rate, count)
        reader = NumberReader(
            subscriber, ring, lambda number: schedule.arrive(number, perf_counter())
        )
        readers = {subscriber.fileno(): reader.read, publisher.fileno(): acks.read}
        deadline = perf_counter() + seconds + PROBE_PATIENCE_S
        while not schedule.is_complete and perf_counter() < deadline:
            now = perf_counter()
            if (number := schedule.take_due(now)) is not None:
                publisher.sendall(ring.data[ring.starts[number] : ring.starts[number + 1]])
                continue
            # select waits by the microsecond, epoll by the millisecond
            until = schedule.wait_s(now) if schedule.sent < count else PROBE_PATIENCE_S
            for ready in select.select(readers, [], [], until)[0]:
                readers[ready]()
    if not schedule.is_complete:
        raise PeerError(f"cannot measure: {schedule.arrived:,} of {count:,} messages arrived")
    return list(schedule.latencies.values())
