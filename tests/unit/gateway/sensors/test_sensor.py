import pytest

from gateway.sensors.bthome import decode_objects
from gateway.sensors.frames import FrameError, read_frame
from gateway.sensors.sensor import (
    BAD_FRAMES,
    FRAME_RATE,
    PACKET_RATE,
    FrameOutcome,
    Sensor,
    SensorProblem,
    SensorSettings,
)
from gateway.sensors.values import Packet
from hardware.radio.advertisement import Advertisement
from tests.bthome import ADDRESS, CLIMATE, KEY, OTHER_KEY, advertise, encrypt, of_data

TAKEN, REPEATED = FrameOutcome.TAKEN, FrameOutcome.REPEATED


def make(key: str = "", floor: int = -1) -> Sensor:
    settings = SensorSettings("dev-000000000001", ADDRESS, bytes.fromhex(key), floor=floor)
    return Sensor(settings, 0.0)


def take(sensor: Sensor, advertisement: Advertisement) -> tuple[FrameOutcome, Packet | None]:
    frame = read_frame(advertisement)
    assert frame is not None
    return sensor.take(frame, "", advertisement.heard_at, decode_objects)


def problem_of(sensor: Sensor) -> SensorProblem:
    return sensor.problem


def outcomes(sensor: Sensor, *advertisements: Advertisement) -> list[FrameOutcome]:
    return [take(sensor, each)[0] for each in advertisements]


# case L8
@pytest.mark.parametrize(("last", "lower"), [(154553, 148), (65531, 19911)])
def test_nothing_counts_while_the_counter_is_back(last: int, lower: int) -> None:
    sensor = make(KEY)
    assert outcomes(sensor, encrypt(CLIMATE, last)) == [TAKEN]
    assert problem_of(sensor) is SensorProblem.NONE
    back = [encrypt(CLIMATE, lower + n, at=float(n)) for n in range(5)]
    assert outcomes(sensor, *back) == [FrameOutcome.WENT_BACK] * 5
    assert problem_of(sensor) is SensorProblem.WENT_BACK
    assert sensor.resume()
    assert problem_of(sensor) is SensorProblem.NONE
    assert outcomes(sensor, encrypt(CLIMATE, lower + 5)) == [TAKEN]
    assert not sensor.resume()


def test_a_frame_without_the_key_does_not_move_the_counter() -> None:
    sensor = make(KEY)
    assert outcomes(sensor, encrypt(CLIMATE, 1000)) == [TAKEN]
    for counter in (2**32 - 1, 1, 1001):
        forged = encrypt(CLIMATE, counter, key=OTHER_KEY)
        assert outcomes(sensor, forged) == [FrameOutcome.NOT_OPENED]
    assert (sensor.guard.last, sensor.guard.lower) == (1000, None)
    assert outcomes(sensor, encrypt(CLIMATE, 1001)) == [TAKEN]


def test_a_wrong_key_is_a_problem_after_some_frames_and_until_a_good_one() -> None:
    sensor = make(KEY)
    for number in range(BAD_FRAMES - 1):
        take(sensor, encrypt(CLIMATE, number, key=OTHER_KEY))
    assert problem_of(sensor) is SensorProblem.NONE
    take(sensor, encrypt(CLIMATE, 9, key=OTHER_KEY))
    assert problem_of(sensor) is SensorProblem.WRONG_KEY
    take(sensor, encrypt(CLIMATE, 10))
    assert problem_of(sensor) is SensorProblem.NONE
    assert sensor.refused is None


def test_a_plain_frame_of_an_encrypted_sensor_does_not_count() -> None:
    sensor = make(KEY)
    plain = [advertise(CLIMATE, at=float(n)) for n in range(BAD_FRAMES)]
    assert outcomes(sensor, *plain) == [FrameOutcome.NOT_OPENED] * BAD_FRAMES
    assert problem_of(sensor) is SensorProblem.NOT_ENCRYPTED


def test_an_encrypted_frame_of_a_plain_sensor_needs_a_key() -> None:
    sensor = make()
    assert outcomes(sensor, *[encrypt(CLIMATE, n) for n in range(3)])[0] is FrameOutcome.NOT_OPENED
    assert problem_of(sensor) is SensorProblem.KEY_MISSING
    sensor.change_key(bytes.fromhex(KEY))
    assert problem_of(sensor) is SensorProblem.NONE
    assert outcomes(sensor, encrypt(CLIMATE, 3)) == [TAKEN]


def test_copies_count_once_with_and_without_encryption() -> None:
    assert outcomes(make(), *[advertise("0001" + CLIMATE)] * 3) == [TAKEN, REPEATED, REPEATED]
    assert outcomes(make(), *[advertise(CLIMATE)] * 3) == [TAKEN, REPEATED, REPEATED]
    assert outcomes(make(KEY), *[encrypt(CLIMATE, 5)] * 3) == [TAKEN, REPEATED, REPEATED]
    again = [encrypt("0007" + CLIMATE, counter) for counter in (1, 2, 3)]  # sealed once more each
    assert outcomes(make(KEY), *again) == [TAKEN, REPEATED, REPEATED]


def test_a_repeated_frame_is_refused_after_a_restart() -> None:
    sensor = make(KEY)
    take(sensor, encrypt(CLIMATE, 500))
    again = make(KEY, floor=sensor.settings.floor)
    assert outcomes(again, encrypt(CLIMATE, 500), encrypt(CLIMATE, 499)) == [
        REPEATED, FrameOutcome.LATE,
    ]  # fmt: skip
    assert outcomes(again, encrypt(CLIMATE, 501)) == [TAKEN]


# case L9
@pytest.mark.parametrize("ending", ["53", "54", "3b"])
def test_a_cut_object_drops_one_frame(ending: str) -> None:
    for sensor, sent in (
        (make(), advertise(CLIMATE + ending)),
        (make(KEY), encrypt(CLIMATE + ending, 1)),
    ):
        with pytest.raises(FrameError):
            take(sensor, sent)
    assert outcomes(sensor, encrypt(CLIMATE, 2)) == [TAKEN]


def test_a_sensor_that_sends_too_fast_is_slowed() -> None:
    sensor = make()
    sent = [advertise(f"00{n % 256:02x}" + CLIMATE, at=1.0) for n in range(100)]
    assert outcomes(sensor, *sent).count(TAKEN) == PACKET_RATE.burst
    sent = [advertise(f"00{n % 256:02x}" + CLIMATE, at=2.0) for n in range(100)]
    assert outcomes(sensor, *sent).count(TAKEN) == pytest.approx(10, abs=1)


def test_copies_do_not_use_up_what_a_sensor_may_send() -> None:
    sensor = make()
    copies = [advertise("0001" + CLIMATE, at=n / 50) for n in range(100)]  # each 20 ms
    assert outcomes(sensor, *copies) == [TAKEN] + [REPEATED] * 99
    assert outcomes(sensor, advertise("0002" + CLIMATE, at=2.0)) == [TAKEN]


def test_frames_beyond_any_sensor_are_not_decoded() -> None:
    sensor, sent = make(), [advertise(CLIMATE, at=1.0)] * 1000
    assert outcomes(sensor, *sent).count(FrameOutcome.TOO_FAST) == 1000 - FRAME_RATE.burst


def test_plain_frames_of_others_do_not_use_up_what_an_encrypted_sensor_may_send() -> None:
    sensor = make(KEY)
    for _ in range(1000):
        take(sensor, advertise(CLIMATE, at=1.0))
    assert outcomes(sensor, encrypt(CLIMATE, 1, at=1.0)) == [TAKEN]


def test_a_key_is_never_part_of_a_text() -> None:
    assert KEY not in repr(make(KEY).settings)
    assert repr(bytes.fromhex(KEY)) not in repr(make(KEY).settings)


def test_an_unreadable_text_is_dropped() -> None:
    with pytest.raises(FrameError):
        take(make(), of_data(b"\x40\xee"))
