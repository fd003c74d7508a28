"""The scenarios: one small function each, and the table of them.

To add one: write a function that takes a Rig and a Size and gives a Sample, and give it a row.
`suite_name` follows the Open MQTT Benchmark Suite: kind-publishers-subscribers-topics-rate.
"""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.fanin import single_packets
from benchmarks.generator import DELIVERIES, Rig, stream
from benchmarks.idle import MEMORY, hold
from benchmarks.latency import pace
from benchmarks.measure import Sample
from benchmarks.packets import encode_mixed_ring


@dataclass(frozen=True, slots=True)
class Size:
    """What a quick run makes smaller."""

    connections: int


@dataclass(frozen=True, slots=True)
class Target:
    """What design.md promises: a ratio against a rival, or an absolute bound."""

    text: str
    ratio: float | None = None
    rival: str = "mosquitto"
    at_most: float | None = None
    ratio_by_version: tuple[tuple[str, float], ...] = ()  # what holds for some of its versions


@dataclass(frozen=True, slots=True)
class Metric:
    """One number that brokers are compared by."""

    name: str
    higher_is_better: bool = True
    target: Target | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of load, and what it shows."""

    name: str
    title: str
    suite_name: str
    run: Callable[[Rig, Size], Sample]
    metrics: tuple[Metric, ...]
    is_default: bool = False
    has_ceiling: bool = True  # the mirror is faster than any broker where packets come in bulk


def qos0_1to1(rig: Rig, _size: Size) -> Sample:
    return stream(rig, qos=0, subscribers=1, window=16_384)


def qos0_fanout_1to50(rig: Rig, _size: Size) -> Sample:
    return stream(rig, qos=0, subscribers=50, window=2_048)


def qos1_1to1(rig: Rig, _size: Size) -> Sample:
    return stream(rig, qos=1, subscribers=1, window=100)


def qos0_mixed(rig: Rig, _size: Size) -> Sample:
    topics = [f"site/{n % 7}/device/{n:03}/readings/temperature" for n in range(100)]
    ring = encode_mixed_ring(topics, range(16, 257, 3), count=900)
    return stream(rig, qos=0, subscribers=1, window=8_192, ring=ring, topic_filter="site/#")


def fanin_500_qos0(rig: Rig, _size: Size) -> Sample:
    return single_packets(rig, qos=0, publishers=500)


def fanin_500_qos1(rig: Rig, _size: Size) -> Sample:
    return single_packets(rig, qos=1, publishers=500)


def latency_10k(rig: Rig, _size: Size) -> Sample:
    return pace(rig, rate=10_000)


def idle_connections(rig: Rig, size: Size) -> Sample:
    return hold(rig, connections=size.connections)


def _rate(target: Target | None = None) -> tuple[Metric, ...]:
    return (Metric(DELIVERIES, target=target),)


SCENARIOS = (
    Scenario(
        "qos0_1to1",
        "QoS 0, one publisher to one subscriber, 64 B, pipelined (16,384 messages under way)",
        "p2p-1-1-1-max",
        qos0_1to1,
        _rate(
            Target(
                "≥ 4x Mosquitto 2.1 (≥ 6x Mosquitto 2.0)",
                ratio=4.0,
                ratio_by_version=(("2.0", 6.0),),
            )
        ),
        is_default=True,
    ),
    Scenario(
        "qos0_fanout_1to50",
        "QoS 0, one publisher to 50 subscribers, 64 B (2,048 messages under way)",
        "fanout-1-50-1-max",
        qos0_fanout_1to50,
        _rate(Target("≥ 15x Mosquitto", ratio=15.0)),
        is_default=True,
    ),
    Scenario(
        "qos1_1to1",
        "QoS 1 both ways, one publisher to one subscriber, 64 B, window 100",
        "p2p-1-1-1-max",
        qos1_1to1,
        _rate(Target("≥ 3x Mosquitto", ratio=3.0)),
        is_default=True,
    ),
    Scenario(
        "qos0_mixed",
        "QoS 0, one publisher to one subscriber of site/#, topic (of 100) and size (16 to 256 B) "
        "changing with every packet",
        "p2p-1-1-100-max",
        qos0_mixed,
        _rate(),
        is_default=True,  # the other three send one topic and one size, which suits us best
    ),
    Scenario(
        "fanin_500_qos0",
        "QoS 0, 500 publishers of single packets to one subscriber, 64 B",
        "fanin-500-1-500-max",
        fanin_500_qos0,
        _rate(),
        has_ceiling=False,
    ),
    Scenario(
        "fanin_500_qos1",
        "QoS 1 both ways, 500 publishers of single packets to one subscriber, 64 B",
        "fanin-500-1-500-max",
        fanin_500_qos1,
        _rate(Target("≥ 1x Mosquitto", ratio=1.0)),
        has_ceiling=False,
    ),
    Scenario(
        "latency_10k",
        "QoS 0, one publisher to one subscriber, 64 B, 10,000 messages/s: latency",
        "p2p-1-1-1-10K",
        latency_10k,
        (
            Metric("p50 µs", False, Target("≤ Mosquitto's", ratio=1.0)),
            Metric("p99 µs", False, Target("≤ Mosquitto's", ratio=1.0)),
        ),
    ),
    Scenario(
        "idle_connections",
        "Connections without traffic: memory of each, and whether all answer a ping",
        "conn-tcp-10K",
        idle_connections,
        (Metric(MEMORY, False, Target("≤ 6 KiB", at_most=6.0)),),
        has_ceiling=False,
    ),
)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
