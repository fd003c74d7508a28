"""Takes any bytes as advertisements of sensors, heard by strangers' and accepted sensors' state."""

from gateway.sensors.bthome import decode_objects
from gateway.sensors.frames import SERVICE_UUID, FrameError, open_frame
from gateway.sensors.intake import QUEUE_LIMIT, Intake
from gateway.sensors.sensor import FrameOutcome, Sensor, SensorSettings
from gateway.sensors.strangers import STRANGERS_LIMIT, Strangers
from gateway.sensors.values import encode_packet
from tests.bthome import ADDRESS, CLIMATE, KEY, advertise, encrypt, of_data

SEALED = "A4:C1:38:0B:1C:2E"  # the address of a sensor that encrypts
ADDRESSES = (ADDRESS, SEALED, "A4:C1:38:0B:1C:2F")


def check_advertisements(data: bytes) -> None:
    """Hear a script of (address, tenths of a second, length) with service data in between."""
    plain = Sensor(SensorSettings("dev-000000000001", ADDRESS), 0.0)
    sealed = Sensor(SensorSettings("dev-000000000002", SEALED, bytes.fromhex(KEY)), 0.0)
    accepted, strangers = {ADDRESS: plain, SEALED: sealed}, Strangers()
    intake, now, position, counted = Intake(accepted.__contains__), 0.0, 0, set[int]()
    while position + 3 <= len(data):
        who, tenths, size = data[position : position + 3]
        position, now = position + 3, now + tenths / 10
        sent = of_data(data[position : position + size], ADDRESSES[who % len(ADDRESSES)], at=now)
        position += size
        try:
            intake.put(sent)
        except FrameError:
            continue
        for heard in intake.take():
            sensor = accepted.get(heard.frame.address)
            if sensor is None:
                strangers.note(heard.frame, heard.advertisement, "", None)
                continue
            try:
                outcome, packet = sensor.take(heard.frame, "", now, decode_objects)
            except FrameError:
                continue
            assert (packet is not None) == (outcome is FrameOutcome.TAKEN)
            if packet is not None:
                encode_packet(sensor.device_id, packet, now, sensor.number(len(packet.values)))
                assert heard.frame.is_encrypted == sensor.is_encrypted
            if packet is not None and sensor is sealed:
                assert open_frame(heard.frame, bytes.fromhex(KEY)) is not None
                assert heard.frame.counter >= max(counted, default=0)
                counted.add(heard.frame.counter)
    assert len(strangers) <= STRANGERS_LIMIT
    assert len(intake) <= QUEUE_LIMIT


def advertisement_seeds() -> list[bytes]:
    """Return scripts of good frames."""
    plain = advertise("00070164" + CLIMATE + "3a013c01035302c3a95402ffff3b0100aa")
    first, second = encrypt(CLIMATE, 154553, SEALED), encrypt("3a01", 148, SEALED)
    return [_script(0, plain.service_data[SERVICE_UUID]),
            b"".join(_script(1, each.service_data[SERVICE_UUID]) for each in (first, second)),
            _script(2, bytes.fromhex("42" "2d1c0b38c1a4" + CLIMATE))]  # fmt: skip


def _script(who: int, data: bytes) -> bytes:
    return bytes((who, 30, len(data))) + data
