from pathlib import Path

import pytest

from benchmarks.__main__ import Choice, make_plan
from benchmarks.brokers import OURS, Broker, Site, parse_broker
from benchmarks.errors import ChoiceError
from benchmarks.scenarios import SCENARIOS

FOUND = [Broker(name, "1", "", lambda _: []) for name in (OURS, "mosquitto", "nats")]


def names(choice: Choice) -> tuple[list[str], list[str]]:
    plan = make_plan(choice, FOUND)
    return [each.name for each in plan.scenarios], [each.name for each in plan.brokers]


def test_the_default_is_four_scenarios_and_all_brokers() -> None:
    scenarios, brokers = names(Choice(quick=False, scenarios=[], brokers=[], rounds=None))
    assert scenarios == ["qos0_1to1", "qos0_fanout_1to50", "qos1_1to1", "qos0_mixed"]
    assert brokers == [OURS, "mosquitto", "nats"]


def test_quick_compares_with_mosquitto_only() -> None:
    assert names(Choice(True, [], [], None))[1] == [OURS, "mosquitto"]


def test_named_brokers_come_alone_and_added_ones_on_top() -> None:
    assert names(Choice(False, ["all"], ["nats"], None))[1] == ["nats"]
    scenarios, brokers = names(Choice(False, ["all"], ["mine=./mine -p {port}"], 1))
    assert brokers == [OURS, "mosquitto", "nats", "mine"]
    assert len(scenarios) == len(SCENARIOS)


@pytest.mark.parametrize(
    ("scenarios", "brokers", "problem"),
    [
        (["qos9"], [], "cannot run scenario qos9"),
        ([], ["emqx"], "cannot run broker emqx: not found; found: hecate, mosquitto, nats"),
        ([], ["x=./x"], "{port}"),
        ([], ["=./x {port}"], "expected NAME=COMMAND"),
        ([], ["nats", "nats=./x {port}"], "twice"),
    ],
)
def test_names_that_mean_nothing_are_refused(
    scenarios: list[str], brokers: list[str], problem: str
) -> None:
    with pytest.raises(ChoiceError, match=problem):
        make_plan(Choice(False, scenarios, brokers, None), FOUND)


def test_placeholders_are_filled_for_each_run(tmp_path: Path) -> None:
    broker = parse_broker("new=./mosquitto -c {mosquitto_conf} --data={dir} 'a b'")
    command = broker.prepare(Site(4711, tmp_path))
    assert command == [
        "./mosquitto", "-c", f"{tmp_path}/mosquitto.conf", f"--data={tmp_path}", "a b"
    ]  # fmt: skip
    assert "listener 4711 127.0.0.1" in (tmp_path / "mosquitto.conf").read_text()
