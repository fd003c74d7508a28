import pytest

from benchmarks.measure import Cpu, Meter, Phase, Tally, Timing, pair_ratios, percentile, spread

TIMING = Timing(warm_up_s=1.0, measure_s=2.0, stall_s=3.0, limit_s=20.0)


def make_meter(cpu: list[Cpu] | None = None) -> Meter:
    left = iter(cpu or [Cpu(0, 0)] * 9)
    return Meter(TIMING, 100.0, lambda: next(left))


def test_rate_is_taken_between_the_calls_that_begin_and_end_the_measured_phase() -> None:
    meter = make_meter([Cpu(broker_s=1.0, generator_s=5.0), Cpu(broker_s=3.0, generator_s=6.0)])
    assert meter.advance(100.5, 1_000) is Phase.WARM_UP
    assert meter.advance(101.2, 5_000) is Phase.MEASURE
    assert meter.advance(102.9, 9_000) is Phase.MEASURE
    assert meter.is_sending
    assert meter.advance(103.2, 25_000) is Phase.DRAIN
    assert not meter.is_sending
    sample = meter.sample(Tally(25_000, 25_000), unit="msg/s")
    assert sample.values == {"msg/s": pytest.approx(10_000)}
    assert sample.broker_cpu_us == pytest.approx(2.0 / 20_000 * 1e6)
    assert sample.broker_busy == pytest.approx(1.0)
    assert sample.generator_busy == pytest.approx(0.5)


def test_what_arrives_while_draining_does_not_count_for_the_rate() -> None:
    meter = make_meter()
    for now, received in ((101.0, 0), (103.0, 2_000), (104.0, 900_000)):
        meter.advance(now, received)
    assert meter.sample(Tally(0, 0), unit="r").values == {"r": pytest.approx(1_000)}


def test_a_broker_that_stops_delivering_stalls_the_run() -> None:
    meter = make_meter()
    meter.advance(101.0, 10)
    assert meter.advance(103.0, 10) is Phase.DRAIN
    assert meter.advance(103.9, 10) is Phase.DRAIN
    assert meter.advance(104.0, 10) is Phase.STALLED
    assert meter.advance(104.1, 11) is Phase.STALLED


def test_progress_puts_the_stall_off_but_not_the_limit() -> None:
    meter = make_meter()
    phases = [meter.advance(100.0 + second, second) for second in range(22)]
    assert phases[19] is Phase.DRAIN
    assert phases[20] is Phase.OVERDUE
    assert meter.is_over
    assert meter.is_cut


def test_a_stall_while_measuring_ends_the_interval() -> None:
    meter = Meter(Timing(1.0, 10.0, 3.0, 20.0), 0.0, lambda: Cpu(0, 0))
    meter.advance(1.0, 100)
    meter.advance(2.0, 500)
    assert meter.advance(5.0, 500) is Phase.STALLED
    assert meter.sample(Tally(600, 500), unit="r").values == {"r": pytest.approx(100)}


def test_nothing_measured_is_a_rate_of_zero() -> None:
    assert make_meter().sample(Tally(1, 0), unit="r").values == {"r": 0.0}


def test_tally_tells_loss_from_repetition() -> None:
    assert Tally(10, 10).is_exact
    assert (Tally(10, 8).lost, Tally(10, 8).repeated) == (2, 0)
    assert (Tally(10, 13).lost, Tally(10, 13).repeated) == (0, 3)
    assert not Tally(10, 10, disordered=1).is_exact


def test_what_is_missing_when_time_is_up_is_not_called_lost() -> None:
    cut = Tally(10, 8, is_cut=True)
    assert (cut.missing, cut.lost, cut.is_exact) == (2, 0, False)


@pytest.mark.parametrize(
    ("percent", "value"), [(0, 1), (1, 1), (50, 50), (50.5, 51), (99, 99), (99.9, 100), (100, 100)]
)
def test_percentile_is_the_nearest_rank(percent: float, value: float) -> None:
    assert percentile(range(1, 101), percent) == value


def test_percentile_of_one_and_of_none() -> None:
    assert percentile([7.0], 99) == 7.0
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_ratios_are_taken_pair_by_pair() -> None:
    # the machine was twice as fast in round 2: the medians would give 1.5, each round gives 2
    ratios = pair_ratios([200, 400, 100], [100, 200, 50], higher_is_better=True)
    assert ratios is not None
    assert (ratios.median, ratios.low, ratios.high) == (2, 2, 2)


def test_less_is_better_turns_the_ratio_round() -> None:
    ratios = pair_ratios([50, 100], [100, 150], higher_is_better=False)
    assert ratios is not None
    assert (ratios.low, ratios.high) == (1.5, 2.0)


def test_failed_rounds_have_no_ratio() -> None:
    ratios = pair_ratios([None, 30, 40], [10, 10, None], higher_is_better=True)
    assert ratios is not None
    assert ratios == spread([3.0])
    assert pair_ratios([None], [1.0], higher_is_better=True) is None
