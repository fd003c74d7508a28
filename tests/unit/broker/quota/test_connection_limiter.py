import pytest

from broker import Limits
from broker.quota.connection_limiter import REMEMBERED, ConnectionLimiter, find_key
from broker.quota.counters import BrokerCounters

HERE, THERE = "203.0.113.1", "203.0.113.2"


def connection_limiter(**limits: float) -> tuple[ConnectionLimiter, BrokerCounters]:
    counters = BrokerCounters()
    return ConnectionLimiter(Limits(**limits), counters), counters  # type: ignore[arg-type]  # ints are floats


def test_connections_of_one_address_are_bounded() -> None:
    gate, counters = connection_limiter(connections_per_address=2)
    first, second = gate.enter(HERE, 0.0), gate.enter(HERE, 0.0)
    assert first is not None
    assert second is not None
    assert gate.enter(HERE, 0.0) is None
    assert gate.enter(THERE, 0.0) is not None
    assert counters.refused == {"connections_per_address": 1}
    second.give_back()
    second.give_back()
    assert gate.enter(HERE, 0.0) is not None
    assert gate.enter(HERE, 0.0) is None


def test_connections_in_all_are_bounded() -> None:
    gate, counters = connection_limiter(connections=2)
    place = gate.enter(HERE, 0.0)
    assert place is not None
    assert gate.enter("127.0.0.1", 0.0) is not None
    assert gate.enter("", 0.0) is None
    assert counters.refused == {"connections": 1}
    place.give_back()
    assert gate.enter("", 0.0) is not None


def test_strangers_are_bounded_until_they_are_known() -> None:
    gate, counters = connection_limiter(unauthenticated=2)
    cut: list[str] = []
    known = gate.enter(HERE, 0.0, None, lambda: cut.append("known"))
    assert known is not None
    known.settle()
    known.settle()
    first = gate.enter(HERE, 0.0, None, lambda: cut.append("first"))
    second = gate.enter(HERE, 0.0, None, lambda: cut.append("second"))
    assert first is not None
    assert second is not None
    assert gate.enter(THERE, 0.0) is not None
    assert cut == ["first"]
    assert counters.refused == {"unauthenticated": 1}
    first.give_back()  # it counts once
    first.settle()
    second.give_back()
    assert gate.enter("", 0.0) is not None
    assert cut == ["first"]


# case G5, case CL1
def test_no_number_of_silent_connections_keeps_one_out() -> None:
    gate, counters = connection_limiter(unauthenticated=4)
    cut: list[int] = []
    for number in range(100):  # a burst: nobody has noticed its end yet
        place = gate.enter("127.0.0.1", 0.0, None, lambda number=number: cut.append(number))  # type: ignore[misc]
        assert place is not None
    assert cut == list(range(96))
    assert counters.refused == {"unauthenticated": 96}
    honest = gate.enter(THERE, 0.0, None, lambda: cut.append(-1))
    for _ in range(10):
        gate.enter("127.0.0.1", 0.0)
    assert honest is not None
    honest.ask()
    assert -1 not in cut  # the address with most loses


def test_an_address_comes_at_its_pace_after_a_burst() -> None:
    gate, counters = connection_limiter(connect_burst=3, connects_per_s=2.0)
    for _ in range(3):
        place = gate.enter(HERE, 10.0)
        assert place is not None
        place.give_back()  # going away does not help
    assert gate.enter(HERE, 10.0) is None
    assert gate.enter(THERE, 10.0) is not None
    assert gate.enter(HERE, 10.4) is None
    assert gate.enter(HERE, 10.5) is not None
    assert gate.enter(HERE, 10.5) is None
    assert counters.refused == {"connects_per_s": 3}
    assert [gate.enter(HERE, 1e6) is not None for _ in range(4)] == [True, True, True, False]


def test_the_memory_for_addresses_is_bounded() -> None:
    gate, _ = connection_limiter(connect_burst=1, connects_per_s=0.0)
    for number in range(REMEMBERED + 10):
        place = gate.enter(f"10.1.{number >> 8}.{number & 255}", 0.0)
        assert place is not None
        place.give_back()
    assert len(gate._paces) == REMEMBERED
    assert not gate._by_address
    assert gate.enter("10.1.0.0", 0.0) is not None  # forgotten
    assert gate.enter("10.1.1.0", 0.0) is None


@pytest.mark.parametrize(
    ("peer", "key"),
    [
        ("203.0.113.1", "203.0.113.1"),
        ("::ffff:203.0.113.1", "203.0.113.1"),
        ("2001:db8::1:2:3:4", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("127.0.0.1", ""),
        ("127.9.9.9", ""),
        ("::1", ""),
        ("::ffff:127.0.0.1", ""),
        ("", ""),
    ],
)
def test_what_an_address_counts_as(peer: str, key: str) -> None:
    assert find_key(peer) == key
