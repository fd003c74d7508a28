"""Generator and broker must agree on every message, and a broker that lies must be found out."""

import os
import shlex
import shutil
import socket
import time
from collections.abc import Iterator
from functools import partial

import pytest

from benchmarks.brokers import Broker, Site, find_brokers, make_mirror, run_broker
from benchmarks.errors import PeerError
from benchmarks.fanin import single_packets
from benchmarks.generator import DELIVERIES, Rig, stream
from benchmarks.idle import MEMORY, hold
from benchmarks.latency import pace
from benchmarks.machine import Cores, choose_cores, read_cpu, read_memory
from benchmarks.measure import Sample, Timing
from benchmarks.packets import encode_mixed_ring
from benchmarks.rounds import Plan, run_plan
from benchmarks.scenarios import BY_NAME, Size

TINY = Timing(warm_up_s=0.05, measure_s=0.1, stall_s=5.0, limit_s=20.0)


@pytest.fixture(autouse=True)
def cores() -> Iterator[Cores]:
    allowed = os.sched_getaffinity(0)
    yield choose_cores()
    os.sched_setaffinity(0, allowed)


@pytest.fixture
def mosquitto(cores: Cores) -> Iterator[Rig]:
    broker = next((each for each in find_brokers() if each.name == "mosquitto"), None)
    assert broker is not None, "cannot test the generator: mosquitto is not installed"
    with run_broker(broker, cores) as running:
        cpu, memory = partial(read_cpu, running.pid), partial(read_memory, running.pid)
        yield Rig(running.port, TINY, cpu, memory)


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("subscribers", [1, 5])
def test_stream_through_mosquitto_is_exact(mosquitto: Rig, qos: int, subscribers: int) -> None:
    sample = stream(mosquitto, qos=qos, subscribers=subscribers, window=100)
    assert sample.tally.is_exact, sample.tally
    assert sample.tally.expected > 100 * subscribers
    assert sample.values[DELIVERIES] > 0


def test_mixed_stream_through_mosquitto_is_exact(mosquitto: Rig) -> None:
    ring = encode_mixed_ring(["mixed/a", "mixed/bcd"], [4, 100, 300], count=90)
    sample = stream(mosquitto, qos=0, subscribers=2, window=500, ring=ring, topic_filter="mixed/+")
    assert sample.tally.is_exact, sample.tally


@pytest.mark.parametrize("qos", [0, 1])
def test_single_packets_through_mosquitto_are_exact(mosquitto: Rig, qos: int) -> None:
    sample = single_packets(mosquitto, qos=qos, publishers=20)
    assert sample.tally.is_exact, sample.tally
    assert sample.tally.expected >= 20


def test_paced_messages_through_mosquitto_are_exact(mosquitto: Rig) -> None:
    sample = pace(mosquitto, rate=2_000)
    assert sample.tally.is_exact, sample.tally
    assert sample.tally.expected == 300
    assert 0 < sample.values["p50 µs"] <= sample.values["p99 µs"] <= sample.values["max µs"]


def test_idle_connections_to_mosquitto_all_answer(mosquitto: Rig) -> None:
    sample = hold(mosquitto, connections=50)
    assert sample.tally.is_exact, sample.tally
    assert sample.values[MEMORY] >= 0


def test_a_plan_runs_brokers_in_turns_and_ends_them(cores: Cores) -> None:
    brokers = [make_mirror(), Broker("missing", "", "", lambda _: ["./no-such-broker"])]
    plan = Plan([BY_NAME["qos1_1to1"]], brokers, 2, TINY, Size(1), cores)
    heard = []
    results = run_plan(plan, lambda _, broker, outcome: heard.append((broker, outcome is None)))
    assert [broker for broker, is_start in heard if is_start] == [
        "mirror",  # the ceiling
        *("mirror", "missing") * 2,
    ]
    mirrored, missing = (results.outcomes["qos1_1to1", each.name] for each in brokers)
    assert all(isinstance(each, Sample) and each.tally.is_exact for each in mirrored)
    assert not any(isinstance(each, Sample) for each in missing)


def test_a_scenario_that_takes_too_long_ends_after_a_whole_round(cores: Cores) -> None:
    mirror = make_mirror()
    scenario = BY_NAME["qos0_1to1"]
    plan = Plan([scenario], [mirror], 9, TINY, Size(1), cores, scenario_s=0.0)
    results = run_plan(plan, lambda *_: None)
    assert len(results.outcomes[scenario.name, mirror.name]) == 1


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_what_a_wrapper_started_is_ended_too(cores: Cores) -> None:
    mirror = make_mirror()

    def prepare(site: Site) -> list[str]:
        return ["sh", "-c", shlex.join(mirror.prepare(site)) + "; true"]

    with run_broker(Broker("wrapped", "", "", prepare), cores) as running:
        pass
    deadline = time.monotonic() + 5
    while is_listening(running.port):
        assert time.monotonic() < deadline


def test_a_broker_that_does_not_speak_mqtt_is_an_error(cores: Cores) -> None:
    silent = Broker("silent", "", "", lambda _: [shutil.which("false") or "false"])
    with pytest.raises(PeerError, match="cannot start silent"), run_broker(silent, cores):
        pass
