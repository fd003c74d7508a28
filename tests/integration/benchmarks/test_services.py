"""Each measurement of microservices works and counts right; no time is judged."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from benchmarks.services.figures import BARE, JAVASCRIPT, NODE_RED, OURS, PAHO, PYTHON
from benchmarks.services.gateways import run_gateway
from benchmarks.services.mqtt_load import QUIET_S, HandlerLoad
from benchmarks.services.processes import program
from benchmarks.services.rivals.node_red import node_red_version
from benchmarks.services.scenarios import QUICK_SIZE, SERVICE_SCENARIOS
from tests.programs import PATIENCE

SCENARIOS = {each.name: each for each in SERVICE_SCENARIOS}
needs_node_red = pytest.mark.skipif(
    not (node_red_version() and shutil.which("node")), reason="Node-RED is not in build/npm"
)


def measure(scenario: str, subject: str) -> dict[str, float]:
    assert subject in SCENARIOS[scenario].subjects
    return dict(SCENARIOS[scenario].measure(subject, QUICK_SIZE))


def test_starts_with_and_without_a_standby_process_are_timed() -> None:
    values = measure("cold_start", PYTHON)
    for kind in ("standby", "no standby"):
        assert values[f"{kind}: starts"] == QUICK_SIZE.starts
        code, p99 = values[f"{kind}: code p50 ms"], values[f"{kind}: code p99 ms"]
        assert 0 < code <= p99
        assert code <= values[f"{kind}: serving p50 ms"]


@pytest.mark.parametrize("subject", [PYTHON, pytest.param(NODE_RED, marks=needs_node_red)])
def test_a_message_comes_back_from_each_handler(subject: str) -> None:
    values = measure("message_latency", subject)
    for qos in (0, 1):
        assert 0 < values[f"p50 µs, QoS {qos}"] <= values[f"p99 µs, QoS {qos}"]
        assert values[f"CPU µs of the handler, QoS {qos}"] > 0
        if subject == PYTHON:  # the parts are those of the whole
            until = values[f"until the handler runs: p50 µs, QoS {qos}"]
            assert 0 < until < values[f"p99 µs, QoS {qos}"]


def test_the_floor_of_the_machine_is_timed() -> None:
    values = measure("message_latency", BARE)
    assert 0 < values["p50 µs, QoS 1"] <= values["p99 µs, QoS 1"]


@pytest.mark.parametrize("subject", [PYTHON, JAVASCRIPT, PAHO])
def test_each_message_is_counted_once(subject: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.services.mqtt_load.QUIET_S", QUIET_S * PATIENCE)
    values = measure("message_throughput", subject)
    rates = QUICK_SIZE.slow_rates if subject == JAVASCRIPT else QUICK_SIZE.rates
    assert values["sent"] > len(rates)
    assert (values["lost"], values["repeated"]) == (0, 0)
    assert values["peak handled/s"] == max(values[f"handled/s at {rate:,}/s"] for rate in rates)
    if subject in OURS:
        assert values["dropped"] == 0


def test_messages_without_a_handler_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.services.mqtt_load.QUIET_S", 0.2)
    with run_gateway() as gateway:
        load = HandlerLoad(gateway.mqtt_port)
        counts = load.run(200, 0.2)
        load.close()
    assert counts.sent > 0
    assert counts.accepted_per_s > 0
    assert counts.handled == 0


@pytest.mark.parametrize("subject", [JAVASCRIPT, PYTHON])
def test_requests_are_answered_and_timed(subject: str) -> None:
    values = measure("http_requests", subject)
    assert 0 < values["p50 ms, 1 client"] <= values["p99 ms, 1 client"]
    assert values["requests/s, 2 clients"] > 0
    assert values["requests/s of one core, 2 clients"] > 0


def test_memory_of_a_gateway_and_its_containers_is_read() -> None:
    values = measure("memory", PYTHON)
    assert values["start until /readyz s"] > 0
    whole = values["gateway without containers: RSS MiB"]
    assert 0 < values["gateway without containers: PSS MiB"] <= whole
    for subject in ("Python", "JavaScript"):
        assert values[f"{subject} container, one more: PSS MiB"] > 1


def test_the_command_measures_deployments_and_writes_report_and_json(tmp_path: Path) -> None:
    report, numbers = tmp_path / "report.md", tmp_path / "numbers.json"
    command = [sys.executable, "-m", "benchmarks.services", "--quick", "--only", "deployments"]
    options = ["--out", str(report), "--json", str(numbers)]
    with program([*command, *options], tmp_path / "log") as process:
        assert process.wait(60 * PATIENCE) == 0, (tmp_path / "log").read_text()
    assert "a quick run" in report.read_text()
    assert "| deployments | python | deploy to first answer: median s |" in report.read_text()
    rounds = {each["subject"]: each["values"] for each in json.loads(numbers.read_text())["rounds"]}
    assert set(rounds) == {PYTHON, JAVASCRIPT}
    for values in rounds.values():
        for change in ("deploy to first answer", "update in place", "rollback"):
            assert 0 < values[f"{change}: median s"] <= values[f"{change}: slowest s"]


def test_an_unknown_scenario_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.services", "--only", "speed"]
    with program(command, tmp_path / "log") as process:
        assert process.wait(60 * PATIENCE) == 2
    assert "known: cold_start, message_latency" in (tmp_path / "log").read_text()
