from datetime import UTC, datetime

from benchmarks.brokers import OURS, BenchBroker
from benchmarks.machine import Cores
from benchmarks.measure import Failure, Outcome, Sample, Tally, Timing
from benchmarks.report import Circumstances, render_details, render_json, render_markdown
from benchmarks.rounds import Results, RoundPlan
from benchmarks.scenarios import BY_NAME, Size
from benchmarks.verdict import judge, make_rows

SCENARIO = BY_NAME["qos0_1to1"]
METRIC = SCENARIO.metrics[0]
MEMORY = BY_NAME["idle_connections"]


def sample(rate: float, tally: Tally | None = None, busy: float = 0.1) -> Sample:
    return Sample({METRIC.name: rate}, tally or Tally(100, 100), 100 / rate, 0.9, busy, 8.0)


def make_plan(version: str = "2.0.11") -> RoundPlan:
    brokers = [
        BenchBroker(OURS, "1", "", lambda _: []),
        BenchBroker("mosquitto", version, "", lambda _: []),
    ]
    return RoundPlan([SCENARIO], brokers, 2, Timing(1, 1), Size(), Cores(0, 1))


def make_results(ours: list[Outcome], theirs: list[Outcome]) -> Results:
    outcomes = {(SCENARIO.name, OURS): ours, (SCENARIO.name, "mosquitto"): theirs}
    return Results(outcomes, {SCENARIO.name: sample(9_000)})


def test_target_depends_on_the_version_of_the_rival() -> None:
    results = make_results([sample(2_000)] * 2, [sample(100)] * 2)
    old, _ = judge(make_plan("2.0.11"), results)
    assert old.is_met is False  # 30 wanted
    new, nats = judge(make_plan("2.1.2"), results)
    assert new.is_met is True  # 10 wanted
    assert nats.is_met is None  # not in this run


def test_without_the_rival_nothing_is_claimed() -> None:
    results = make_results([sample(500)] * 2, [Failure("cannot start mosquitto: no"), Failure("x")])
    judged = judge(make_plan(), results)
    assert [each.is_met for each in judged] == [None, None]


def test_absolute_bound_needs_no_rival() -> None:
    plan = RoundPlan([MEMORY], make_plan().brokers[:1], 1, Timing(1, 1), Size(), Cores(0, 1))
    for used, is_met in ((5.9, True), (6.1, False)):
        measured = Sample({MEMORY.metrics[0].name: used}, Tally(10, 10))
        results = Results({(MEMORY.name, OURS): [measured]})
        judged = {each.metric: each.is_met for each in judge(plan, results)}
        unmeasured = dict.fromkeys((each.name for each in MEMORY.metrics[1:]), None)
        assert judged == {MEMORY.metrics[0].name: is_met, **unmeasured}


def test_loss_repetition_and_disorder_are_shouted() -> None:
    theirs: list[Outcome] = [sample(100, Tally(100, 90, 2)), sample(100, Tally(100, 101))]
    rows = make_rows(make_plan(), make_results([sample(1)] * 2, theirs), SCENARIO, METRIC)
    assert rows[0].remarks == ()
    assert rows[1].remarks == ("LOST 10 of 200", "REPEATED 1 of 200", "WRONG OR OUT OF ORDER")


def test_a_broker_that_was_only_too_slow_is_not_accused_of_loss() -> None:
    theirs: list[Outcome] = [sample(1, Tally(100, 40, is_cut=True)), sample(1)]
    rows = make_rows(make_plan(), make_results([sample(1)] * 2, theirs), SCENARIO, METRIC)
    assert rows[1].remarks == ("too slow: 60 of 200 had not arrived when time was up",)


def test_a_failed_round_and_a_busy_generator_are_remarked() -> None:
    theirs: list[Outcome] = [Failure("cannot go on"), sample(1, busy=0.99)]
    rows = make_rows(make_plan(), make_results([sample(2)] * 2, theirs), SCENARIO, METRIC)
    assert rows[1].remarks[0] == "1 of 2 rounds failed: cannot go on"
    assert "generator bound" in rows[1].remarks[1]
    assert rows[1].ratio is not None
    assert rows[1].cpu_ratio is not None
    assert rows[1].ratio.median == rows[1].cpu_ratio.median == 2


def test_reports_hold_the_rounds_and_the_circumstances() -> None:
    results = make_results([sample(1_234), sample(2_345)], [sample(100), Failure("cannot x: y")])
    when = datetime(2026, 11, 23, tzinfo=UTC)
    facts = Circumstances({"processor": "abc"}, "python -m benchmarks", when, 61, is_quick=True)
    text = render_markdown(make_plan("2.1.2"), results, facts)
    for part in ("processor: abc", "| met |", "quick run"):
        assert part in text
    details = render_details(make_plan("2.1.2"), results)
    for part in ("1,234, 2,345", "cannot x: y", "9,000"):
        assert part in details
    assert '"failed": "cannot x: y"' in render_json(make_plan("2.1.2"), results, facts)


def test_a_broker_that_lacks_something_gets_a_dash_and_a_footnote() -> None:
    lacking: list[Outcome] = [Failure("no WebSocket", is_unable=True)]
    results = make_results([sample(1)] * 2, lacking)
    row = make_rows(make_plan("2.1.2"), results, SCENARIO, METRIC)[1]
    assert (row.value, row.remarks, row.footnote) == (None, (), "no WebSocket")
    text = render_details(make_plan("2.1.2"), results)
    assert "| mosquitto | - \\* |" in text
    assert "\\* mosquitto: no WebSocket." in text


def test_a_rival_with_fewer_rounds_is_compared_in_those() -> None:
    rows = make_rows(
        make_plan("2.1.2"), make_results([sample(10), sample(90)], [sample(5)]), SCENARIO, METRIC
    )
    assert rows[1].ratio is not None
    assert (rows[1].ratio.low, rows[1].ratio.high, rows[1].rounds) == (2, 2, 1)
