from hypothesis import given
from hypothesis import strategies as st

from gateway.http.replay import LEEWAY_S, VALID_LIMIT_S, ReplayGuard, ReplayVerdict

ID = bytes(16)


def test_a_request_is_admitted_once() -> None:
    guard = ReplayGuard()
    assert guard.admit(ID, 20.0, now=0.0) is ReplayVerdict.ADMITTED
    assert guard.admit(ID, 20.0, now=1.0) is ReplayVerdict.REPLAYED
    assert guard.admit(b"x" * 16, 20.0, now=1.0) is ReplayVerdict.ADMITTED


def test_it_is_remembered_as_long_as_it_could_be_replayed() -> None:
    guard = ReplayGuard()
    guard.admit(ID, 20.0, now=0.0)
    assert guard.admit(ID, 20.0, now=20.0 + LEEWAY_S) is ReplayVerdict.REPLAYED
    assert guard.admit(ID, 20.0, now=20.1 + LEEWAY_S) is ReplayVerdict.EXPIRED
    assert len(guard) == 0


def test_what_is_valid_for_long_is_refused() -> None:
    guard = ReplayGuard()
    too_long = VALID_LIMIT_S + LEEWAY_S + 1
    assert guard.admit(ID, too_long, now=0.0) is ReplayVerdict.TOO_LONG
    assert guard.admit(ID, float("inf"), now=0.0) is ReplayVerdict.TOO_LONG
    assert guard.admit(ID, float("nan"), now=0.0) is ReplayVerdict.EXPIRED


def test_ids_have_sixteen_bytes() -> None:
    assert ReplayGuard().admit(b"short", 20.0, now=0.0) is ReplayVerdict.MALFORMED


def test_a_full_memory_refuses_rather_than_forgets() -> None:
    guard = ReplayGuard(limit=2)
    assert guard.admit(b"1" * 16, 10.0, now=0.0) is ReplayVerdict.ADMITTED
    assert guard.admit(b"2" * 16, 20.0, now=0.0) is ReplayVerdict.ADMITTED
    assert guard.admit(b"3" * 16, 20.0, now=0.0) is ReplayVerdict.TOO_MANY
    assert guard.admit(b"1" * 16, 10.0, now=0.0) is ReplayVerdict.REPLAYED
    assert guard.admit(b"3" * 16, 50.0, now=10.1 + LEEWAY_S) is ReplayVerdict.ADMITTED


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 100), st.floats(0, 30)), max_size=50))
def test_no_id_is_admitted_twice_while_it_is_valid(
    requests: list[tuple[int, float, float]],
) -> None:
    guard, now, admitted = ReplayGuard(limit=4), 0.0, dict[int, float]()
    for number, valid_s, pause_s in requests:
        now += pause_s
        verdict = guard.admit(bytes([number]) * 16, now + valid_s, now)
        if verdict is ReplayVerdict.ADMITTED:
            assert now > admitted.get(number, -1.0)
            admitted[number] = now + valid_s
        assert len(guard) <= 4


# case CL5
def test_a_clock_that_is_set_back_lets_no_replay_in() -> None:
    guard = ReplayGuard()
    assert guard.admit(ID, 20.0, now=0.0) is ReplayVerdict.ADMITTED
    assert guard.admit(b"x" * 16, 3620.0, now=3600.0) is ReplayVerdict.ADMITTED
    assert guard.admit(ID, 20.0, now=0.0) is ReplayVerdict.EXPIRED
    assert guard.admit(b"y" * 16, 60.0, now=40.0) is ReplayVerdict.ADMITTED, "a new one is served"


# case CL5
@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 1000)), max_size=50))
def test_no_request_is_admitted_twice_however_the_clock_is_set(
    requests: list[tuple[int, float]],
) -> None:
    guard, expiries, admitted = ReplayGuard(), (50.0, 51.0, 300.0, 500.0, 700.0, 990.0), set()
    for number, now in requests:
        if guard.admit(bytes([number]) * 16, expiries[number], now) is ReplayVerdict.ADMITTED:
            assert number not in admitted
            admitted.add(number)
