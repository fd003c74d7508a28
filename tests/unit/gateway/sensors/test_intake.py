import pytest

from gateway.sensors.frames import FrameError
from gateway.sensors.intake import QUEUE_LIMIT, STRANGER_RATE, Intake
from hardware.radio.advertisement import Advertisement
from tests.bthome import ADDRESS, CLIMATE, advertise, of_data


def of(number: int, at: float = 0.0) -> Advertisement:
    return advertise(CLIMATE, f"A4:C1:38:00:{number // 256:02X}:{number % 256:02X}", at=at)


def test_a_burst_fills_the_queue_and_no_more() -> None:
    intake = Intake(lambda _address: True)
    for number in range(1000):
        intake.put(of(number))
    assert len(intake) == QUEUE_LIMIT
    assert intake.counts["queue full"] == 1000 - QUEUE_LIMIT
    assert next(h.frame.address for h in intake.take()) == "A4:C1:38:00:00:00"
    assert len(intake) == 0


def test_strangers_leave_room_for_accepted_sensors() -> None:
    intake = Intake(lambda address: address == ADDRESS)
    for number in range(1000):
        intake.put(of(number, at=1.0))
    intake.put(advertise(CLIMATE, at=1.0))
    waiting = [heard.frame.address for heard in intake.take()]
    assert (len(waiting), waiting[-1]) == (STRANGER_RATE.burst + 1, ADDRESS)
    assert intake.counts["too many strangers"] == 1000 - STRANGER_RATE.burst
    for number in range(1000):
        intake.put(of(number, at=2.0))
    assert len(intake) == pytest.approx(20, abs=1)


def test_other_advertisements_take_no_room() -> None:
    intake = Intake(lambda _address: True)
    intake.put(Advertisement(ADDRESS, -60, 0.0))
    with pytest.raises(FrameError):
        intake.put(of_data(b""))
    assert len(intake) == 0
