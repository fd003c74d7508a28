"""Makes many subscriptions with wildcards and measures their cost, and that of a publish.

Each publish has a topic of its own (of 20,000: more than any cache of routes holds), goes down
among all of them, and is delivered to one subscriber. So the difference between few and many is
the price of finding nothing else.
"""

from contextlib import ExitStack
from dataclasses import replace
from time import perf_counter

from benchmarks.errors import PeerError
from benchmarks.generator import DELIVERIES, Load, Rig, connect_clients, stream
from benchmarks.measure import Sample, Tally
from benchmarks.packets import (
    encode_payload,
    encode_publish,
    encode_suback,
    encode_subscribes,
    encode_wide_ring,
)
from benchmarks.streams import exchange, open_client, receive_exactly
from benchmarks.transport import BenchConnection

PER_CLIENT = 1_000  # our default limit
PER_PACKET = 100
FEW = 1_000
TOPICS = 20_000
PAYLOAD_BYTES = 64

SUBSCRIBED = "subscriptions/s"
CPU = "CPU µs/subscription"
MEMORY = "bytes/subscription"
GROWTH = "CPU of a publish, times that among 1,000"


def publish_among(rig: Rig, *, count: int) -> Sample:
    """Measure a stream among few subscriptions and among many."""
    topics = [f"plant/{n % 100:02}/line/x{n:05}/value" for n in range(TOPICS)]
    ring = encode_wide_ring(topics, PAYLOAD_BYTES, qos=0)
    load = Load(window=4_096, ring=ring, topic_filter="plant/#")
    with ExitStack() as opened:
        clients = [_subscribe(rig, opened, 0, FEW)]
        few = stream(rig, load)
        before, cpu, started = rig.read_memory(), rig.read_cpu().broker_s, perf_counter()
        for number in range(1, count // PER_CLIENT):
            clients.append(_subscribe(rig, opened, number, PER_CLIENT))
            if perf_counter() - started > rig.timing.setup_s:
                raise PeerError(
                    f"cannot subscribe {count:,} times: {number * PER_CLIENT:,} in time"
                )
        elapsed = perf_counter() - started
        cpu = rig.read_cpu().broker_s - cpu
        memory = rig.read_memory() - before
        many = stream(rig, load)
        matched = _count_matches(rig, clients)
    added = max(1, count - FEW)
    values = {DELIVERIES: many.values[DELIVERIES], SUBSCRIBED: added / elapsed}
    values |= {CPU: cpu / added * 1e6, MEMORY: memory / added}
    if few.broker_cpu_us and many.broker_cpu_us:
        values[GROWTH] = many.broker_cpu_us / few.broker_cpu_us
    tally = Tally(
        few.tally.expected + many.tally.expected + len(clients),
        few.tally.received + many.tally.received + matched,
        few.tally.disordered + many.tally.disordered,
        is_cut=few.tally.is_cut or many.tally.is_cut,
    )
    return replace(many, values=values, tally=tally)


def _subscribe(rig: Rig, opened: ExitStack, client: int, count: int) -> BenchConnection:
    """Return a client with so many filters, each with a wildcard in its middle or at its end."""
    connection = open_client(rig.endpoint, f"many{client}")
    opened.callback(connection.close)
    connection.settimeout(rig.timing.setup_s)
    for first in range(0, count, PER_PACKET):
        filters = [_filter_of(client, n) for n in range(first, min(first + PER_PACKET, count))]
        request = encode_subscribes(filters, 0, packet_id=first + 1)
        answer = encode_suback(0, packet_id=first + 1, count=len(filters))
        exchange(connection, request, answer, "subscribe")
    return connection


def _filter_of(client: int, number: int) -> str:
    end = ("value", "#")[number % 2]
    return f"plant/+/line/{client:03}-{number:03}/{end}"


def _count_matches(rig: Rig, clients: list[BenchConnection]) -> int:
    """Return how many clients get the one message that one of their filters matches."""
    with connect_clients(rig.endpoint) as connect:
        publisher = connect("pub")
        publisher.setblocking(True)
        packets = [
            encode_publish(f"plant/01/line/{client:03}-007/value", encode_payload(client, 8), qos=0)
            for client in range(len(clients))
        ]
        publisher.sendall(b"".join(packets))
        matched = 0
        for connection, packet in zip(clients, packets, strict=True):
            connection.settimeout(rig.timing.stall_s)
            try:
                matched += receive_exactly(connection, len(packet)) == packet
            except OSError:
                break
    return matched
