from pathlib import Path

import pytest

from benchmarks.__main__ import Choice, fit_files, make_plan
from benchmarks.brokers import OURS, BenchBroker, BenchSite, Mode
from benchmarks.errors import ChoiceError, UnableError
from benchmarks.rivals import parse_rival
from benchmarks.scenarios import SCENARIOS

FOUND = [BenchBroker(name, "1", "", lambda _: []) for name in (OURS, "mosquitto", "nats")]


def names(choice: Choice) -> tuple[list[str], list[str]]:
    plan = make_plan(choice, FOUND)
    return [each.name for each in plan.scenarios], [each.name for each in plan.brokers]


def test_the_default_is_everything() -> None:
    scenarios, brokers = names(Choice())
    assert scenarios == [each.name for each in SCENARIOS]
    assert brokers == [OURS, "mosquitto", "nats"]


def test_quick_compares_with_mosquitto_only() -> None:
    assert names(Choice(quick=True))[1] == [OURS, "mosquitto"]


def test_named_brokers_come_alone_and_rivals_on_top() -> None:
    assert names(Choice(brokers=["nats"]))[1] == ["nats"]
    scenarios, brokers = names(Choice(scenarios=["tls_64b"], rivals=["mine=./mine -p {port}"]))
    assert brokers == [OURS, "mosquitto", "nats", "mine"]
    assert scenarios == ["tls_64b"]


@pytest.mark.parametrize(
    ("choice", "problem"),
    [
        (Choice(scenarios=["qos9"]), "cannot run scenario qos9"),
        (Choice(brokers=["emqx"]), "broker emqx: not found; found: hecate, mosquitto, nats"),
        (Choice(rivals=["x=./x"]), "{port}"),
        (Choice(rivals=["=./x {port}"]), "expected NAME=COMMAND"),
        (Choice(brokers=["nats"], rivals=["nats=./x {port}"]), "twice"),
    ],
)
def test_names_that_mean_nothing_are_refused(choice: Choice, problem: str) -> None:
    with pytest.raises(ChoiceError, match=problem):
        make_plan(choice, FOUND)


def test_placeholders_are_filled_for_each_run(tmp_path: Path) -> None:
    broker = parse_rival("new=./mosquitto -c {mosquitto_conf} --data={dir} 'a b'")
    command = broker.prepare(BenchSite(4711, tmp_path))
    assert command == [
        "./mosquitto", "-c", f"{tmp_path}/mosquitto.conf", f"--data={tmp_path}", "a b"
    ]  # fmt: skip
    assert "listener 4711 127.0.0.1" in (tmp_path / "mosquitto.conf").read_text()


def test_only_a_rival_with_a_configuration_is_told_of_modes(tmp_path: Path) -> None:
    durable = BenchSite(4711, tmp_path, Mode.DURABLE)
    parse_rival("new=./mosquitto -c {mosquitto_conf}").prepare(durable)
    assert "persistence true" in (tmp_path / "mosquitto.conf").read_text()
    with pytest.raises(UnableError, match="durable"):
        parse_rival("new=./other {port}").prepare(durable)


def test_connections_fit_the_files_that_may_be_open(capsys: pytest.CaptureFixture[str]) -> None:
    plan = make_plan(Choice(), FOUND)
    assert fit_files(plan, 20_000) == plan
    assert not capsys.readouterr().err
    assert fit_files(plan, 1_024).size.connections == 824
    assert "only 1,024 files" in capsys.readouterr().err
