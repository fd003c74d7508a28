"""Defines the scenarios: one small function each, and a table of them.

To add one, write a function that takes a Rig and a Size and returns a Sample, and add a row.
`suite_name` follows the Open MQTT Benchmark Suite: kind-publishers-subscribers-topics-rate.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks import durable, idle
from benchmarks import retained as kept
from benchmarks import subscriptions as many
from benchmarks.brokers import Mode
from benchmarks.durable import flood_durable, pace_durable
from benchmarks.fanin import single_packets
from benchmarks.generator import DELIVERIES, PAYLOAD_BYTES, TOPIC, Load, Rig, stream
from benchmarks.idle import hold
from benchmarks.latency import pace
from benchmarks.measure import Sample
from benchmarks.packets import encode_mixed_ring, encode_ring
from benchmarks.retained import deliver_retained
from benchmarks.subscriptions import publish_among

KIB, MIB = 1024, 1024 * 1024
SHARED_RING = 65_536  # many more than are under way, so that a member's step back is seen
GIGABYTES = "GB/s"


@dataclass(frozen=True, slots=True)
class Size:
    """Holds the sizes that a quick run reduces."""

    connections: int = 10_000
    subscriptions: int = 100_000
    retained: int = 100_000


@dataclass(frozen=True, slots=True)
class BenchTarget:
    """A target of design.md: a ratio against a rival, or an absolute bound."""

    text: str
    ratio: float | None = None
    rival: str = "mosquitto"
    at_most: float | None = None
    at_least: float | None = None
    ratio_by_version: tuple[tuple[str, float], ...] = ()  # the ratios for some of its versions


@dataclass(frozen=True, slots=True)
class Metric:
    """One number that brokers are compared by."""

    name: str
    higher_is_better: bool = True
    has_cpu: bool = True  # processor time per delivery says something beside it
    targets: tuple[BenchTarget, ...] = ()


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of load, and what it shows."""

    name: str
    title: str
    suite_name: str
    run: Callable[[Rig, Size], Sample]
    metrics: tuple[Metric, ...]
    mode: Mode = Mode.PLAIN
    has_ceiling: bool = True  # the mirror is faster than any broker where packets come in bulk


def qos0_1to1(rig: Rig, _size: Size) -> Sample:
    return stream(rig, Load(window=16_384))


def qos0_fanout_1to50(rig: Rig, _size: Size) -> Sample:
    return stream(rig, Load(subscribers=50, window=2_048))


def qos1_1to1(rig: Rig, _size: Size) -> Sample:
    return stream(rig, Load(qos=1, window=100))


def qos2_1to1(rig: Rig, _size: Size) -> Sample:
    return stream(rig, Load(qos=2, window=100))


def qos0_mixed(rig: Rig, _size: Size) -> Sample:
    topics = [f"site/{n % 7}/device/{n:03}/readings/temperature" for n in range(100)]
    ring = encode_mixed_ring(topics, range(16, 257, 3), count=900)
    return stream(rig, Load(window=8_192, ring=ring, topic_filter="site/#"))


def shared_group(rig: Rig, _size: Size) -> Sample:
    ring = encode_ring(TOPIC, PAYLOAD_BYTES, qos=0, count=SHARED_RING)
    group = f"$share/bench/{TOPIC}"
    load = Load(subscribers=4, window=4_096, ring=ring, topic_filter=group, is_shared=True)
    return stream(rig, load)


def large_payloads(rig: Rig, _size: Size) -> Sample:
    ring = encode_ring(TOPIC, MIB, qos=0, count=4)
    sample = stream(rig, Load(window=4, ring=ring))
    gigabytes = sample.values[DELIVERIES] * MIB / 1e9
    return replace(sample, values={GIGABYTES: gigabytes, **sample.values})


def fanin_500_qos0(rig: Rig, _size: Size) -> Sample:
    return single_packets(rig, qos=0, publishers=500)


def fanin_500_qos1(rig: Rig, _size: Size) -> Sample:
    return single_packets(rig, qos=1, publishers=500)


def latency_10k(rig: Rig, _size: Size) -> Sample:
    return pace(rig, rate=10_000)


def idle_connections(rig: Rig, size: Size) -> Sample:
    return hold(rig, connections=size.connections)


def subscriptions(rig: Rig, size: Size) -> Sample:
    return publish_among(rig, count=size.subscriptions)


def retained(rig: Rig, size: Size) -> Sample:
    return deliver_retained(rig, count=size.retained)


def tls_64(rig: Rig, _size: Size) -> Sample:
    return stream(rig, Load(window=16_384))


def tls_16k(rig: Rig, _size: Size) -> Sample:
    ring = encode_ring(TOPIC, 16 * KIB, qos=0, count=64)
    sample = stream(rig, Load(window=128, ring=ring))
    gigabytes = sample.values[DELIVERIES] * 16 * KIB / 1e9
    return replace(sample, values={GIGABYTES: gigabytes, **sample.values})


def websocket(rig: Rig, _size: Size) -> Sample:
    return stream(rig, Load(window=16_384))


def durable_20k(rig: Rig, _size: Size) -> Sample:
    return pace_durable(rig, rate=20_000, lanes=20)


def durable_max(rig: Rig, _size: Size) -> Sample:
    return flood_durable(rig, window=200, lanes=20)


def _rate(*targets: BenchTarget) -> tuple[Metric, ...]:
    return (Metric(DELIVERIES, targets=targets),)


def _latency(name: str, *targets: BenchTarget) -> Metric:
    return Metric(name, higher_is_better=False, targets=targets)


def _lower(name: str, *targets: BenchTarget) -> Metric:
    return Metric(name, higher_is_better=False, has_cpu=False, targets=targets)


NO_SLOWER = BenchTarget("≥ 1x Mosquitto", ratio=1.0)


SCENARIOS = (
    Scenario(
        "qos0_1to1",
        "QoS 0, one publisher to one subscriber, 64 B, pipelined (16,384 messages under way)",
        "p2p-1-1-1-max",
        qos0_1to1,
        _rate(
            BenchTarget(
                "≥ 10x Mosquitto 2.1 (≥ 30x Mosquitto 2.0)",
                ratio=10.0,
                ratio_by_version=(("2.0", 30.0),),
            ),
            BenchTarget("≥ 3x NATS", ratio=3.0, rival="nats"),
        ),
    ),
    Scenario(
        "qos0_fanout_1to50",
        "QoS 0, one publisher to 50 subscribers, 64 B (2,048 messages under way)",
        "fanout-1-50-1-max",
        qos0_fanout_1to50,
        _rate(
            BenchTarget("≥ 80x Mosquitto", ratio=80.0),
            BenchTarget("≥ 15x NATS", ratio=15.0, rival="nats"),
        ),
    ),
    Scenario(
        "qos1_1to1",
        "QoS 1 both ways, one publisher to one subscriber, 64 B, window 100",
        "p2p-1-1-1-max",
        qos1_1to1,
        _rate(BenchTarget("≥ 6x Mosquitto", ratio=6.0)),
    ),
    Scenario(
        "qos0_mixed",
        "QoS 0, one publisher to one subscriber of site/#, topic (of 100) and size (16 to 256 B) "
        "changing with every packet",
        "p2p-1-1-100-max",
        qos0_mixed,
        _rate(),
    ),
    Scenario(
        "fanin_500_qos0",
        "QoS 0, 500 publishers of single packets to one subscriber, 64 B",
        "fanin-500-1-500-max",
        fanin_500_qos0,
        _rate(BenchTarget("≥ 1.4x Mosquitto", ratio=1.4)),
        has_ceiling=False,
    ),
    Scenario(
        "fanin_500_qos1",
        "QoS 1 both ways, 500 publishers of single packets to one subscriber, 64 B",
        "fanin-500-1-500-max",
        fanin_500_qos1,
        _rate(BenchTarget("≥ 1.1x Mosquitto", ratio=1.1)),
        has_ceiling=False,
    ),
    Scenario(
        "latency_10k",
        "QoS 0, one publisher to one subscriber, 64 B, 10,000 messages/s: latency",
        "p2p-1-1-1-10K",
        latency_10k,
        (
            _latency("p50 µs", BenchTarget("≤ Mosquitto's", ratio=1.0)),
            _latency("p99 µs", BenchTarget("≤ Mosquitto's", ratio=1.0)),
        ),
    ),
    Scenario(
        "idle_connections",
        "Connections without traffic: memory of each, and whether all answer a ping",
        "conn-tcp-10K",
        idle_connections,
        (
            _lower(idle.MEMORY, BenchTarget("≤ 6 KiB", at_most=6.0)),
            Metric(idle.HELD, targets=(BenchTarget("10,000", at_least=10_000),), has_cpu=False),
            Metric(idle.OPENED, targets=(NO_SLOWER,)),
        ),
        has_ceiling=False,
    ),
    Scenario(
        "subscriptions_100k",
        "QoS 0, one publisher to one subscriber of plant/#, 64 B, 20,000 topics, among 100,000 "
        "other subscriptions with wildcards (of 100 clients)",
        "-",
        subscriptions,
        (
            Metric(DELIVERIES, targets=(NO_SLOWER,)),
            _lower(many.GROWTH, BenchTarget("by depth, not number: ≤ 2", at_most=2.0)),
            Metric(many.SUBSCRIBED, has_cpu=False, targets=(NO_SLOWER,)),
            _lower(many.CPU),
            _lower(many.MEMORY),
        ),
        has_ceiling=False,
    ),
    Scenario(
        "retained_100k",
        "100,000 retained messages of 64 B, stored at QoS 1, delivered to one subscriber of #",
        "-",
        retained,
        (
            Metric(kept.DELIVERED),
            Metric(kept.STORED, has_cpu=False, targets=(NO_SLOWER,)),
            _lower(kept.MEMORY),
        ),
        has_ceiling=False,
    ),
    Scenario(
        "payload_1mib",
        "QoS 0, one publisher to one subscriber, 1 MiB, 4 messages under way",
        "p2p-1-1-1-max",
        large_payloads,
        (Metric(GIGABYTES),),
    ),
    Scenario(
        "qos2_1to1",
        "QoS 2 both ways, one publisher to one subscriber, 64 B, window 100",
        "p2p-1-1-1-max",
        qos2_1to1,
        _rate(),
        has_ceiling=False,
    ),
    Scenario(
        "shared_group_of_4",
        "QoS 0, one publisher to a shared subscription of 4, 64 B, 4,096 messages under way",
        "sharedsub-1-4-1-max",
        shared_group,
        _rate(),
        has_ceiling=False,
    ),
    Scenario(
        "tls_64b",
        "QoS 0 over TLS 1.3, one publisher to one subscriber, 64 B (16,384 messages under way)",
        "p2p-1-1-1-max",
        tls_64,
        _rate(),
        mode=Mode.TLS,
        has_ceiling=False,
    ),
    Scenario(
        "tls_16kib",
        "QoS 0 over TLS 1.3, one publisher to one subscriber, 16 KiB (128 messages under way)",
        "p2p-1-1-1-max",
        tls_16k,
        (Metric(GIGABYTES),),
        mode=Mode.TLS,
        has_ceiling=False,
    ),
    Scenario(
        "websocket",
        "QoS 0 over WebSocket, one publisher (a frame for each message) to one subscriber, 64 B "
        "(16,384 messages under way)",
        "p2p-1-1-1-max",
        websocket,
        _rate(NO_SLOWER),
        mode=Mode.WEBSOCKET,
        has_ceiling=False,
    ),
    Scenario(
        "durable_20k",
        "QoS 1, 20,000 messages/s offered by 20 publishers, each into a stored session, 64 B",
        "-",
        durable_20k,
        (
            _latency("PUBACK p99 ms", BenchTarget("< 10 ms", at_most=10.0)),
            _latency("PUBACK p50 ms"),
            Metric(durable.ACKNOWLEDGED),
        ),
        mode=Mode.DURABLE,
        has_ceiling=False,
    ),
    Scenario(
        "durable_max",
        "QoS 1, 20 publishers with a window of 200, each into a stored session, 64 B",
        "-",
        durable_max,
        (Metric(durable.ACKNOWLEDGED, targets=(BenchTarget("≥ 150,000/s", at_least=150_000),)),),
        mode=Mode.DURABLE,
        has_ceiling=False,
    ),
)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
