"""Generates load: one process, raw sockets, epoll, packets encoded in advance.

Every load but that for latency is closed-loop: a window bounds the messages that are not yet
delivered (and, at QoS 1, not yet acknowledged). No broker is thus pushed into dropping, and one
that drops all the same is seen: the run stalls, and what is missing is counted as lost.
"""

import select
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from time import perf_counter, sleep
from types import TracebackType
from typing import Self

from benchmarks.errors import PeerError
from benchmarks.exactly_once import ExactReader, ReleaseCounter
from benchmarks.measure import Cpu, Meter, Sample, Tally, Timing
from benchmarks.packets import Ring, encode_ring
from benchmarks.share import ShareReader, cover_all
from benchmarks.streams import (
    AckCounter,
    AckingReader,
    PacketReader,
    RingReader,
    Sender,
    open_client,
)
from benchmarks.transport import (
    BenchConnection,
    BenchWebSocket,
    BrokerEndpoint,
    frame_ring,
    pending_of,
)

PAYLOAD_BYTES = 64
TOPIC = "bench/00000"
RING_COUNT = 1024
POLL_S = 0.05  # a phase ends so much late at most when nothing arrives
# Reading packets one by one wakes the generator for each, and the broker pays for the wake-up. It
# therefore rests when a read brought little: Mosquitto 2.0 then measured 121,000 deliveries/s 1:1
# instead of 86,000, the others the same.
REST_S = 0.0005
REST_BELOW = 400
REST_PACKET_BYTES = 1024  # larger ones fill reads by themselves
LINGER_S = 0.02  # for what arrives twice, after all has arrived once

DELIVERIES = "deliveries/s"
READERS = (RingReader, AckingReader, ExactReader)  # by QoS


@dataclass(frozen=True, slots=True)
class Rig:
    """One running broker, as the loads see it."""

    endpoint: BrokerEndpoint
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

    def on_readable(self, connection: BenchConnection, callback: Callable[[], object]) -> None:
        """Call back whenever there is something to read."""

        def read_all() -> None:
            callback()
            while pending_of(connection):
                callback()

        is_plain = isinstance(connection, socket.socket)
        self._readers[connection.fileno()] = callback if is_plain else read_all
        self._epoll.register(connection, select.EPOLLIN)

    def wake_when_writable(self, connection: BenchConnection) -> None:
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
def connect_clients(endpoint: BrokerEndpoint) -> Iterator[Callable[..., BenchConnection]]:
    """Give a function that opens clients, and close all of them in the end."""
    with ExitStack() as opened:

        def connect(
            client_id: str, subscribe: tuple[str, int] | None = None, *, clean: bool = True
        ) -> BenchConnection:
            client = open_client(endpoint, client_id, subscribe=subscribe, clean=clean)
            opened.callback(client.close)
            return client

        yield connect


@dataclass(frozen=True, slots=True)
class Load:
    """Describes the messages of one publisher and their receivers."""

    qos: int = 0
    subscribers: int = 1
    window: int = 100
    ring: Ring | None = None
    topic_filter: str = TOPIC
    is_shared: bool = False  # each message to one of the subscribers


def stream(rig: Rig, load: Load) -> Sample:
    """Send from one publisher to some subscribers, a window of messages ahead of the slowest."""
    ring = load.ring or encode_ring(TOPIC, PAYLOAD_BYTES, qos=load.qos, count=RING_COUNT)
    with connect_clients(rig.endpoint) as connect, Poll() as poll:
        readers: list[PacketReader] = [
            _make_reader(load, connect(f"sub{n}", (load.topic_filter, load.qos)), ring)
            for n in range(load.subscribers)
        ]
        publisher = connect("pub")
        acks = (ReleaseCounter if load.qos == 2 else AckCounter)(publisher, ring)
        sender = make_sender(publisher, ring)
        for counter in (*readers, acks):
            poll.on_readable(counter.connection, counter.read)
        confirm = _Confirmations(readers, acks if load.qos else None, is_shared=load.is_shared)
        meter = rig.start_meter()
        before, rests = -REST_BELOW, not load.qos and ring.packet_bytes <= REST_PACKET_BYTES
        while True:
            arrived = sum(reader.received for reader in readers)
            meter.advance(perf_counter(), arrived)
            if meter.is_sending:
                grant(sender, confirm.count(), load.window)
            elif meter.is_over or confirm.count() >= sender.granted:
                break
            if not sender.send():
                poll.wake_when_writable(sender.connection)
            if rests and arrived - before < REST_BELOW:
                sleep(REST_S)  # not at QoS 1, where it would be part of each round trip
            before = arrived
            poll.wait(POLL_S)
        poll.wait(LINGER_S)
    if not arrived:
        raise PeerError("cannot measure: nothing arrived")
    return meter.sample(confirm.tally(sender.granted, is_cut=meter.is_cut), unit=DELIVERIES)


class _Confirmations:
    """Counts how many messages every receiver has confirmed."""

    def __init__(
        self, readers: Sequence[PacketReader], acks: PacketReader | None, *, is_shared: bool
    ) -> None:
        self._readers, self._acks, self._is_shared = readers, acks, is_shared
        self._counters = [*readers, acks] if acks else list(readers)

    def count(self) -> int:
        """Return how many messages are through."""
        if not self._is_shared:
            return min(counter.received for counter in self._counters)
        delivered = sum(reader.received for reader in self._readers)
        return min(delivered, self._acks.received) if self._acks else delivered

    def tally(self, sent: int, *, is_cut: bool) -> Tally:
        """Return what was to arrive, and what did."""
        copies = 1 if self._is_shared else len(self._readers)
        disordered = sum(counter.disordered for counter in self._counters)
        if self._is_shared and not is_cut:
            disordered += not cover_all(self._readers, sent)
        return Tally(
            expected=sent * (copies + (self._acks is not None)),
            received=sum(counter.received for counter in self._counters),
            disordered=disordered,
            is_cut=is_cut,
        )


def _make_reader(load: Load, connection: BenchConnection, ring: Ring) -> PacketReader:
    if load.is_shared:
        return ShareReader(connection, ring)
    return READERS[load.qos](connection, ring)


def make_sender(publisher: BenchConnection, ring: Ring) -> Sender:
    """Return what sends a ring, in frames that were made ahead where the connection needs them."""
    if isinstance(publisher, BenchWebSocket):
        return Sender(publisher.wire, frame_ring(ring))
    return Sender(publisher, ring)


def grant(sender: Sender, confirmed: int, window: int) -> None:
    """Open the window to its full size once a quarter of it is free."""
    if confirmed + window - sender.granted >= window // 4:
        sender.granted = confirmed + window
