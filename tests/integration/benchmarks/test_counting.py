"""Generator and broker must agree on every message, in every scenario."""

import os
import shlex
import shutil
import socket
import time
from collections.abc import Iterator

import pytest

from benchmarks.brokers import OURS, BenchBroker, BenchSite, Mode, run_broker
from benchmarks.errors import PeerError, UnableError
from benchmarks.generator import DELIVERIES
from benchmarks.idle import HELD, MEMORY
from benchmarks.machine import Cores, choose_cores
from benchmarks.measure import Failure, Sample, Timing
from benchmarks.rivals import find_brokers, make_mirror
from benchmarks.rounds import RoundPlan, run_plan
from benchmarks.scenarios import BY_NAME, SCENARIOS, Scenario, Size

TINY = Timing(warm_up_s=0.05, measure_s=0.1, stall_s=5.0, limit_s=20.0)
SMALL = Size(connections=120, subscriptions=2_000, retained=2_000)


@pytest.fixture(autouse=True)
def cores() -> Iterator[Cores]:
    allowed = os.sched_getaffinity(0)
    yield choose_cores()
    os.sched_setaffinity(0, allowed)


@pytest.fixture(scope="module")
def found() -> dict[str, BenchBroker]:
    return {broker.name: broker for broker in find_brokers()}


def run_tiny(scenario: Scenario, broker: BenchBroker, cores: Cores) -> Sample:
    plan = RoundPlan([scenario], [broker], 1, TINY, SMALL, cores)
    outcome = run_plan(plan, lambda *_: None).outcomes[scenario.name, broker.name][0]
    assert isinstance(outcome, Sample), outcome
    return outcome


@pytest.mark.parametrize("name", [OURS, "mosquitto"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=[each.name for each in SCENARIOS])
def test_every_scenario_is_exact(
    scenario: Scenario, name: str, found: dict[str, BenchBroker], cores: Cores
) -> None:
    assert name in found, f"cannot test the generator: {name} is not installed"
    sample = run_tiny(scenario, found[name], cores)
    assert sample.tally.is_exact, sample.tally
    assert sample.tally.expected > 100 or scenario.name == "payload_1mib"
    assert scenario.metrics[0].name in sample.values
    assert all(value > 0 for key, value in sample.values.items() if key != MEMORY)


def test_percentiles_rise(found: dict[str, BenchBroker], cores: Cores) -> None:
    values = run_tiny(BY_NAME["latency_10k"], found["mosquitto"], cores).values
    assert 0 < values["p50 µs"] <= values["p90 µs"] <= values["p99 µs"] <= values["max µs"]


def test_connections_that_are_refused_are_missing(
    found: dict[str, BenchBroker], cores: Cores
) -> None:
    mosquitto = found["mosquitto"]

    def prepare(site: BenchSite) -> list[str]:
        command = mosquitto.prepare(site)
        conf = site.folder / "mosquitto.conf"
        conf.write_text(conf.read_text() + "max_connections 60\n")
        return command

    sample = run_tiny(BY_NAME["idle_connections"], BenchBroker("few", "", "", prepare), cores)
    assert not sample.tally.is_exact
    assert 50 < sample.values[HELD] <= 62  # it lets one or two more in


def test_a_plan_runs_brokers_in_turns_and_ends_them(cores: Cores) -> None:
    brokers = [make_mirror(), BenchBroker("missing", "", "", lambda _: ["./no-such-broker"])]
    plan = RoundPlan([BY_NAME["qos1_1to1"]], brokers, 2, TINY, Size(), cores)
    heard = []
    results = run_plan(plan, lambda _, broker, outcome: heard.append((broker, outcome is None)))
    assert [broker for broker, is_start in heard if is_start] == [
        "mirror",  # the ceiling
        *("mirror", "missing") * 2,
    ]
    mirrored, missing = (results.outcomes["qos1_1to1", each.name] for each in brokers)
    assert all(isinstance(each, Sample) and each.values[DELIVERIES] > 0 for each in mirrored)
    assert all(isinstance(each, Failure) and not each.is_unable for each in missing)


def test_without_time_there_is_one_round(cores: Cores) -> None:
    scenario, mirror = BY_NAME["qos0_1to1"], make_mirror()
    plan = RoundPlan([scenario], [mirror], 3, TINY, Size(), cores, budget_s=0.0)
    outcomes = run_plan(plan, lambda *_: None).outcomes
    assert len(outcomes["qos0_1to1", "mirror"]) == 1


def test_a_broker_that_lacks_something_is_asked_once(cores: Cores) -> None:
    def prepare(_site: BenchSite) -> list[str]:
        raise UnableError("no such thing")

    scenario = BY_NAME["websocket"]
    plan = RoundPlan([scenario], [BenchBroker("poor", "", "", prepare)], 3, TINY, Size(), cores)
    outcomes = run_plan(plan, lambda *_: None).outcomes
    assert outcomes == {("websocket", "poor"): [Failure("no such thing", is_unable=True)]}


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_what_a_wrapper_started_is_ended_too(cores: Cores) -> None:
    mirror = make_mirror()

    def prepare(site: BenchSite) -> list[str]:
        return ["sh", "-c", shlex.join(mirror.prepare(site)) + "; true"]

    with run_broker(BenchBroker("wrapped", "", "", prepare), cores) as running:
        pass
    deadline = time.monotonic() + 5
    while is_listening(running.endpoint.port):
        assert time.monotonic() < deadline


@pytest.mark.parametrize("mode", list(Mode))
def test_a_broker_that_does_not_speak_mqtt_is_an_error(cores: Cores, mode: Mode) -> None:
    silent = BenchBroker("silent", "", "", lambda _: [shutil.which("false") or "false"])
    with pytest.raises(PeerError, match="cannot start silent"), run_broker(silent, cores, mode):
        pass
