"""Delivers many retained messages to one new subscriber of `#`."""

from time import perf_counter

from benchmarks.errors import PeerError
from benchmarks.generator import POLL_S, Poll, Rig, connect_clients, make_sender
from benchmarks.measure import Sample, Tally
from benchmarks.packets import (
    READ_BYTES,
    Ring,
    encode_suback,
    encode_subscribe,
    encode_wide_ring,
)
from benchmarks.streams import AckCounter
from benchmarks.transport import BUSY, BenchConnection

PAYLOAD_BYTES = 64
WINDOW = 500

DELIVERED = "retained/s"
STORED = "stored/s"
MEMORY = "bytes/message"


def deliver_retained(rig: Rig, *, count: int) -> Sample:
    """Store so many messages at QoS 1, subscribe to all of them, and wait until they are there."""
    topics = [f"site/{n // 1000:03}/device/{n:06}/state" for n in range(count)]
    ring = encode_wide_ring(topics, PAYLOAD_BYTES, qos=1, retain=True)
    before = rig.read_memory()
    stored_per_s = _store(rig, ring)
    memory = rig.read_memory() - before
    delivered = encode_wide_ring(topics, PAYLOAD_BYTES, qos=0, retain=True)
    with connect_clients(rig.endpoint) as connect:
        subscriber = connect("late")
        cpu, started = rig.read_cpu(), perf_counter()
        subscriber.sendall(encode_subscribe("#", 0))
        received, ended = _receive_all(
            subscriber, delivered, rig.timing.stall_s, rig.timing.limit_s
        )
        used = rig.read_cpu()
    tally = check_retained(received, delivered)
    elapsed = ended - started
    broker_s = used.broker_s - cpu.broker_s
    if not tally.received:
        raise PeerError("cannot measure: nothing arrived")
    return Sample(
        {DELIVERED: tally.received / elapsed, STORED: stored_per_s, MEMORY: memory / count},
        tally,
        broker_cpu_us=broker_s / count * 1e6,
        broker_busy=broker_s / elapsed,
        generator_busy=(used.generator_s - cpu.generator_s) / elapsed,
    )


def check_retained(received: bytes, ring: Ring) -> Tally:
    """Return whether each message came once, whole and marked as retained."""
    suback = encode_suback(0)
    at = received.find(suback)
    publishes = received[:at] + received[at + len(suback) :] if at >= 0 else received
    size = ring.packet_bytes
    expected = {ring.data[start : start + size] for start in ring.starts[:-1]}
    whole = len(publishes) // size
    found = {publishes[start : start + size] for start in range(0, whole * size, size)}
    wrong = len(found - expected)
    repeated = whole - len(found)
    return Tally(ring.count, whole - repeated, wrong + repeated + (at < 0))


def _store(rig: Rig, ring: Ring) -> float:
    """Publish the whole ring once, and return the rate of acknowledgements."""
    with connect_clients(rig.endpoint) as connect, Poll() as poll:
        publisher = connect("pub")
        sender, acks = make_sender(publisher, ring), AckCounter(publisher, ring)
        poll.on_readable(publisher, acks.read)
        started = perf_counter()
        while acks.received < ring.count:
            sender.granted = min(acks.received + WINDOW, ring.count)
            if not sender.send():
                poll.wake_when_writable(publisher)
            poll.wait(POLL_S)
            if perf_counter() - started > rig.timing.setup_s:
                raise PeerError(f"cannot store {ring.count:,}: {acks.received:,} in time")
        return ring.count / (perf_counter() - started)


def _receive_all(
    subscriber: BenchConnection, ring: Ring, stall_s: float, limit_s: float
) -> tuple[bytes, float]:
    """Return all that came, and when the last of it did; it is looked at later."""
    expected = len(encode_suback(0)) + ring.period_bytes
    received = bytearray()
    subscriber.settimeout(stall_s)
    ended = perf_counter()
    deadline = ended + limit_s
    while len(received) < expected and ended < deadline:
        try:
            part = subscriber.recv(READ_BYTES)
        except (TimeoutError, *BUSY):
            break
        if not part:
            raise PeerError("cannot go on: the broker closed a connection")
        received += part
        ended = perf_counter()
    return bytes(received), ended
