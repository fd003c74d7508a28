"""The load generator: one process, raw sockets, epoll, packets encoded ahead.

Every load but that for latency is closed-loop: a window bounds the messages that are not yet
delivered (and, at QoS 1, not yet acknowledged). No broker is thus pushed into dropping, and one
that drops all the same is seen: the run stalls, and what is missing is counted as lost.
"""

import select
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from time import perf_counter, sleep
from types import TracebackType
from typing import Self

from benchmarks.measure import Cpu, Meter, Sample, Tally, Timing
from benchmarks.packets import Ring, encode_ring
from benchmarks.streams import AckCounter, AckingReader, RingReader, Sender, open_client

PAYLOAD_BYTES = 64
TOPIC = "bench/00000"
RING_COUNT = 1024
POLL_S = 0.05  # how late a phase may end when nothing arrives
# Reading packets one by one wakes the generator for each, and the broker pays for the wake-up. It
# therefore rests when a read brought little: Mosquitto 2.0 then measured 121,000 deliveries/s 1:1
# instead of 86,000, the others the same.
REST_S = 0.0005
REST_BELOW = 400
LINGER_S = 0.02  # for what arrives twice, after all has arrived once

DELIVERIES = "deliveries/s"


@dataclass(frozen=True, slots=True)
class Rig:
    """One running broker, as the loads see it."""

    port: int
    timing: Timing
    read_cpu: Callable[[], Cpu]
    read_memory: Callable[[], int]

    def start_meter(self) -> Meter:
        """Return a meter whose warm-up begins now."""
        return Meter(self.timing, perf_counter(), self.read_cpu)


class Poll:
    """epoll with one callback per connection."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._readers: dict[int, Callable[[], object]] = {}
        self._waiting: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._epoll.close()

    def on_readable(self, connection: socket.socket, callback: Callable[[], object]) -> None:
        """Call back whenever there is something to read."""
        self._readers[connection.fileno()] = callback
        self._epoll.register(connection, select.EPOLLIN)

    def wake_when_writable(self, connection: socket.socket) -> None:
        """Let the next `wait` return when this registered connection takes more."""
        if connection.fileno() not in self._waiting:
            self._waiting.add(connection.fileno())
            self._epoll.modify(connection, select.EPOLLIN | select.EPOLLOUT)

    def wait(self, timeout_s: float) -> None:
        """Run the callbacks of what is ready."""
        for fd, event in self._epoll.poll(timeout_s):
            if event & select.EPOLLOUT:
                self._waiting.discard(fd)
                self._epoll.modify(fd, select.EPOLLIN)
            if event & ~select.EPOLLOUT:
                self._readers[fd]()


@contextmanager
def connect_clients(port: int) -> Iterator[Callable[..., socket.socket]]:
    """Give a function that opens clients, and close all of them in the end."""
    with ExitStack() as opened:

        def connect(client_id: str, subscribe: tuple[str, int] | None = None) -> socket.socket:
            return opened.enter_context(open_client(port, client_id, subscribe=subscribe))

        yield connect


def stream(
    rig: Rig,
    *,
    qos: int,
    subscribers: int,
    window: int,
    ring: Ring | None = None,
    topic_filter: str = TOPIC,
) -> Sample:
    """Send from one publisher to some subscribers, a window of messages ahead of the slowest."""
    ring = ring or encode_ring(TOPIC, PAYLOAD_BYTES, qos=qos, count=RING_COUNT)
    reader_type = AckingReader if qos else RingReader
    with connect_clients(rig.port) as connect, Poll() as poll:
        readers = [
            reader_type(connect(f"sub{n}", (topic_filter, qos)), ring) for n in range(subscribers)
        ]
        sender = Sender(connect("pub"), ring)
        acks = AckCounter(sender.connection, ring)
        counters = [*readers, acks] if qos else readers
        for counter in (*readers, acks):
            poll.on_readable(counter.connection, counter.read)
        meter = rig.start_meter()
        before = -REST_BELOW
        while True:
            received = [counter.received for counter in counters]
            arrived = sum(received[:subscribers])
            meter.advance(perf_counter(), arrived)
            if meter.is_sending:
                _grant(sender, min(received), window)
            elif meter.is_over or min(received) >= sender.granted:
                break
            if not sender.send():
                poll.wake_when_writable(sender.connection)
            if not qos and arrived - before < REST_BELOW:
                sleep(REST_S)  # not at QoS 1, where it would be part of each round trip
            before = arrived
            poll.wait(POLL_S)
        poll.wait(LINGER_S)
        tally = Tally(
            expected=sender.granted * len(counters),
            received=sum(counter.received for counter in counters),
            disordered=sum(counter.disordered for counter in counters),
            is_cut=meter.is_cut,
        )
        return meter.sample(tally, unit=DELIVERIES)


def _grant(sender: Sender, confirmed: int, window: int) -> None:
    """Open the window to its full size once a quarter of it is free."""
    if confirmed + window - sender.granted >= window // 4:
        sender.granted = confirmed + window
