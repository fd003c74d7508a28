from gateway.devices.record import DeviceRecord
from gateway.devices.take_overs import LIMIT, WINDOW_S, TakeOvers


def test_a_few_take_overs_are_those_of_one_board() -> None:
    take_overs = TakeOvers()
    assert all(take_overs.admit(n * WINDOW_S / 2) for n in range(50))


def test_many_take_overs_hold_newcomers_off_until_they_stop() -> None:  # case D19
    take_overs = TakeOvers()
    assert [take_overs.admit(float(n)) for n in range(LIMIT)] == [True] * (LIMIT - 1) + [False]
    assert not any(take_overs.admit(10.0 * n) for n in range(1, 100))
    assert take_overs.is_holding(991.0 + WINDOW_S - 2)
    assert take_overs.admit(990.0 + WINDOW_S)


def test_a_device_that_is_offline_is_always_admitted() -> None:
    device = DeviceRecord("dev-0123456789ab", "lamp", "x", "", 0.0)
    assert all(device.admit(0.0) for _ in range(10))
    device.observe("devices/dev-0123456789ab/status", b"online", 0.0)
    assert not all(device.admit(0.0) for _ in range(10))
    assert device.conflicts == 1
    device.observe("devices/dev-0123456789ab/status", b"offline", 1.0)
    assert device.admit(1.0)
