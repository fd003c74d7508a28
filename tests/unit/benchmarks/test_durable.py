import pytest

from benchmarks.durable import Latencies


def test_lanes_take_turns_at_one_fixed_rate() -> None:
    latencies = Latencies(start=10.0, rate=100, lanes=4)  # lane 0 at 10.00, 10.04, lane 1 at 10.01
    due = [[latencies.count_due(lane, now) for lane in range(4)] for now in (9.9, 10.0, 10.025)]
    assert due == [[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0]]
    assert sum(latencies.count_due(lane, 11.0001) for lane in range(4)) == 101


def test_an_acknowledgement_is_timed_from_when_its_message_was_due() -> None:
    latencies = Latencies(start=10.0, rate=100, lanes=4)
    latencies.acknowledge(1, first=0, behind=2, now=10.06)  # due at 10.01 and 10.05
    assert sorted(latency for _, latency in latencies.taken) == pytest.approx([0.01, 0.05])


def test_the_warm_up_is_left_out_of_percentiles() -> None:
    latencies = Latencies(start=0.0, rate=10, lanes=1)
    latencies.acknowledge(0, first=0, behind=1, now=5.0)
    latencies.acknowledge(0, first=1, behind=2, now=0.103)
    values = latencies.values(since=0.05)
    assert values["PUBACK p50 ms"] == values["PUBACK max ms"] == pytest.approx(3.0)
    assert latencies.values(since=9.0) == {}
