from gateway.sensors.presence import FIRST_S, LEAST_S, MOST_S, SensorPresence


def heard(interval_s: float, times: int) -> SensorPresence:
    presence = SensorPresence(0.0)
    for number in range(times):
        presence.note(number * interval_s)
    return presence


def test_a_sensor_is_offline_after_several_of_its_intervals() -> None:
    presence = heard(600.0, 10)
    last = 9 * 600.0
    assert presence.is_online
    assert not presence.expire(last + 3 * 600.0)
    assert presence.expire(last + 4 * 600.0)
    assert not presence.is_online
    assert not presence.expire(last + 5 * 600.0)  # once
    presence.note(last + 6 * 600.0)
    assert presence.is_online


def test_quick_and_slow_sensors_have_bounds() -> None:
    assert heard(1.0, 10).deadline == 9.0 + LEAST_S
    assert heard(20 * 3600.0, 5).deadline == 4 * 20 * 3600.0 + MOST_S


def test_a_sensor_has_time_while_its_interval_is_unknown() -> None:
    assert SensorPresence(5.0).deadline == 5.0 + FIRST_S
    assert heard(10.0, 3).deadline == 20.0 + FIRST_S
    assert heard(10.0, 4).deadline == 30.0 + LEAST_S


def test_one_long_gap_is_forgotten_in_time() -> None:
    presence = heard(10.0, 10)
    presence.note(10_000.0)
    assert presence.deadline > 10_000.0 + 9 * 3600
    for number in range(20):
        presence.note(10_000.0 + 10.0 * number)
    assert presence.deadline == 10_190.0 + LEAST_S


def test_a_sensor_that_was_online_before_a_restart_expires_as_well() -> None:
    presence = SensorPresence(0.0, is_online=True)
    assert presence.expire(FIRST_S)
    assert not SensorPresence(0.0).expire(FIRST_S)
