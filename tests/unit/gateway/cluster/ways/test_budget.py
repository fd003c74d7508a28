"""The bounds of streams that the holder of the SEP carries."""

from gateway.cluster.ways.budget import HOUR_BYTES, HOUR_S, STREAMS_OF_MEMBER, WayBudget


def test_a_long_stream_has_its_bytes_in_each_hour() -> None:
    budget = WayBudget(0.0)
    assert not budget.open("a", 0.0)
    assert budget.move("a", HOUR_BYTES - 1, 10.0)
    assert not budget.move("a", 1, 20.0)
    assert budget.open("a", 30.0) == "this member has had 1024 MiB in this hour"
    assert not budget.open("b", 30.0)  # others are not bounded by it
    assert budget.move("a", HOUR_BYTES - 1, HOUR_S), "the next hour, without a new stream"


def test_a_member_has_so_many_streams_at_a_time() -> None:
    budget = WayBudget(0.0)
    for _ in range(STREAMS_OF_MEMBER):
        assert not budget.open("a", 0.0)
    assert "streams of this member are open already" in budget.open("a", 0.0)
    budget.close("a")
    assert not budget.open("a", 0.0)
    assert budget.streams == STREAMS_OF_MEMBER
