"""Loads one subscriber from many publishers of single packets, where batching cannot help."""

from functools import partial
from time import perf_counter

from benchmarks.errors import PeerError
from benchmarks.generator import (
    DELIVERIES,
    LINGER_S,
    PAYLOAD_BYTES,
    POLL_S,
    TOPIC,
    Poll,
    Rig,
    connect_clients,
)
from benchmarks.measure import Sample, Tally
from benchmarks.packets import PUBACK_BYTES, encode_payload, encode_publish, encode_ring
from benchmarks.streams import NumberReader
from benchmarks.transport import BenchConnection


class Publishers:
    """Each has one message under way, and may send the next when that one is through.

    Through means delivered to the subscriber and, at QoS 1, acknowledged to the publisher.
    """

    def __init__(self, count: int, qos: int) -> None:
        self.arrived = 0
        self.pending = [0] * count
        self._qos = qos
        self._connections: list[BenchConnection] = []
        self._packets = [
            encode_publish(f"bench/{number:05}", encode_payload(number, PAYLOAD_BYTES), qos=qos)
            for number in range(count)
        ]
        self._due = list(range(count))
        self._sent = [0] * count
        self._delivered = [0] * count

    def add(self, connection: BenchConnection, poll: Poll) -> None:
        """Take the next publisher's connection."""
        number = len(self._connections)
        self._connections.append(connection)
        poll.on_readable(connection, partial(self._on_ack, connection, number))

    def send_due(self) -> None:
        """Send one packet for each publisher that may."""
        for number in self._due:
            self._connections[number].send(self._packets[number])
            self._sent[number] += 1
            self.pending[number] = 1 + self._qos
        self._due.clear()

    def on_delivery(self, number: int) -> None:
        """Note that the subscriber got a message of this publisher."""
        self.arrived += 1
        self._delivered[number] += 1
        self._confirm(number)

    def tally(self, *, is_cut: bool) -> Tally:
        """Return the count, with publishers whose own count differs as disorder."""
        pairs = zip(self._sent, self._delivered, strict=True)
        wrong = 0 if is_cut else sum(1 for sent, got in pairs if sent != got)
        return Tally(sum(self._sent), self.arrived, wrong, is_cut)

    def _on_ack(self, connection: BenchConnection, number: int) -> None:
        if len(connection.recv(PUBACK_BYTES)) != PUBACK_BYTES:
            raise PeerError("cannot go on: the broker closed a publisher's connection")
        self._confirm(number)

    def _confirm(self, number: int) -> None:
        self.pending[number] -= 1
        if not self.pending[number]:
            self._due.append(number)


def single_packets(rig: Rig, *, qos: int, publishers: int) -> Sample:
    """Send single packets from many connections to one subscriber of `bench/+`."""
    ring = encode_ring(TOPIC, PAYLOAD_BYTES, qos=qos, count=1)
    with connect_clients(rig.endpoint) as connect, Poll() as poll:
        fleet = Publishers(publishers, qos)
        reader = NumberReader(connect("sub", ("bench/+", qos)), ring, fleet.on_delivery)
        poll.on_readable(reader.connection, reader.read)
        for number in range(publishers):
            fleet.add(connect(f"pub{number}"), poll)
        meter = rig.start_meter()
        while True:
            meter.advance(perf_counter(), fleet.arrived)
            if meter.is_sending:
                fleet.send_due()
            elif meter.is_over or not any(fleet.pending):
                break
            poll.wait(POLL_S)
        poll.wait(LINGER_S)
    return meter.sample(fleet.tally(is_cut=meter.is_cut), unit=DELIVERIES)
