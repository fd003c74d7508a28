from web.server.connection_table import ConnectionTable
from web.server.limits import HttpLimits

LIMITS = HttpLimits(connections=8, connections_per_address=4, reserved=2)
HERE = "127.0.0.1"


def table() -> ConnectionTable[str]:
    return ConnectionTable(LIMITS)


# case G5, case CL1
def test_a_burst_of_the_silent_costs_each_newcomer_only_the_oldest_silent_one() -> None:
    connections = table()
    for number in range(100):
        is_admitted, evicted = connections.enter(f"silent {number}", HERE)
        assert is_admitted
        assert evicted == (f"silent {number - 8}" if number >= 8 else None)
    assert len(connections) == 8
    assert connections.counters.evicted == 92
    assert connections.counters.refused == 0


# case G5
def test_one_address_has_a_bound_and_others_have_room() -> None:
    connections = table()
    for number in range(20):
        connections.enter(f"silent {number}", "192.0.2.1")
    assert len(connections) == 4
    assert connections.enter("other", "192.0.2.2") == (True, None)
    assert connections.enter("here", HERE) == (True, None)


# case G5
def test_strangers_that_work_do_not_lock_this_machine_out() -> None:
    connections = table()
    admitted = 0
    for number in range(20):
        is_admitted, _ = connections.enter(f"busy {number}", f"192.0.2.{number}")
        connections.work(f"busy {number}")
        admitted += is_admitted
    assert admitted == 6
    assert connections.counters.refused == 14
    assert connections.enter("here", HERE) == (True, None)
    assert connections.enter("on a Unix socket", "") == (True, None)


def test_the_largest_address_loses_its_oldest_not_the_newcomer() -> None:
    connections = table()
    connections.enter("honest", "192.0.2.9")
    for number in range(6):
        connections.enter(f"silent {number}", "192.0.2.1" if number % 2 else "192.0.2.2")
    assert connections.enter("newcomer", "192.0.2.3")[0]
    assert "honest" in connections.all()


def test_who_progresses_is_not_the_oldest() -> None:
    connections = table()
    connections.enter("upload", HERE)
    for number in range(7):
        connections.enter(f"silent {number}", HERE)
    connections.progress("upload")
    assert connections.enter("newcomer", HERE) == (True, "silent 0")


def test_when_all_work_a_newcomer_is_refused_until_one_leaves() -> None:
    connections = table()
    for number in range(8):
        connections.enter(f"busy {number}", HERE)
        connections.work(f"busy {number}")
    assert connections.enter("newcomer", HERE) == (False, None)
    connections.leave("busy 0")
    connections.leave("busy 0")
    assert connections.enter("newcomer", HERE) == (True, None)
    connections.progress("busy 1")  # its answer is through
    assert connections.enter("another", HERE) == (True, "newcomer")


def test_an_evicted_connection_that_speaks_is_not_counted_again() -> None:
    connections = ConnectionTable[str](HttpLimits(connections=1, reserved=0))
    connections.enter("first", HERE)
    connections.enter("second", HERE)
    connections.work("first")
    connections.progress("first")
    connections.leave("first")
    assert connections.all() == ["second"]


def test_a_trusted_proxy_has_no_bound_of_its_own() -> None:
    connections = ConnectionTable[str](LIMITS, frozenset({"192.0.2.1"}))
    for number in range(8):
        assert connections.enter(f"one {number}", "192.0.2.1") == (True, None)
