import pytest
from bthome_ble import BTHomeBluetoothDeviceData
from bthome_ble.const import MEAS_TYPES

from gateway.sensors.bthome import decode_objects
from gateway.sensors.frames import FrameError, FrameFault
from gateway.sensors.values import Packet, SensorEvent, SensorValue
from tests.bthome import ADDRESS, CLIMATE


def decode(objects: str, name: str = "") -> Packet:
    return decode_objects(bytes.fromhex(objects), ADDRESS, name)


def test_values_have_names_and_units() -> None:
    packet = decode("00050164" + CLIMATE + "4f01000000f100010204")
    assert packet.packet_id == 5
    assert packet.values == (
        SensorValue("temperature", 25.06, "°C"),
        SensorValue("humidity", 50.55, "%"),
        SensorValue("water", 0.001, "L"),
    )
    assert packet.attributes == {"battery": 100, "firmware": "4.2.1.0"}
    assert packet.model == "BTHome sensor"


def test_a_battery_above_100_percent_is_no_attribute() -> None:
    assert decode("01ff02ca09").attributes == {}


def test_binary_values_do_not_take_the_names_of_measured_ones() -> None:
    packet = decode("0b010000100115011c0021014b010000")
    assert {v.name: v.value for v in packet.values} == {
        "power": 0.01,
        "power_on": True,
        "battery_low": True,
        "gas": 0.001,
        "gas_detected": False,
        "motion": True,
    }
    assert [v.name for v in decode("15011500").values] == ["battery_low_1", "battery_low_2"]


def test_events_are_no_values() -> None:
    packet = decode("3a013a003c0103", "SBBT-004CEU")
    assert packet.values == ()
    assert packet.events == (
        SensorEvent("button_1", "press"),
        SensorEvent("dimmer", "rotate_left", {"steps": 3}),
    )
    assert packet.model == "Shelly BLU Wall Switch 4"
    assert decode("3b0001").events == (SensorEvent("command", "on", {"args": ""}),)


def test_several_values_of_a_kind_are_numbered() -> None:
    names = [value.name for value in decode("02ca09450001").values]
    assert names == ["temperature_1", "temperature_2"]


def test_a_time_is_unix_seconds_and_a_text_a_text() -> None:
    packet = decode("50000000605302c3a9540200ff")
    assert [v.value for v in packet.values] == [0x60000000, "é", "00ff"]


# case L9
@pytest.mark.parametrize("ending", ["53", "54", "3b", "53036161", "540261", "3b00", "02ca"])
def test_a_truncated_object_drops_the_packet(ending: str) -> None:
    for before in ("", "0005", CLIMATE):
        with pytest.raises(FrameError) as raised:
            decode(before + ending)
        assert raised.value.fault is FrameFault.TRUNCATED
    assert decode(CLIMATE).values  # the next one is decoded


@pytest.mark.parametrize("kind", sorted(MEAS_TYPES))
def test_every_object_is_decoded_whole_and_refused_cut(kind: int) -> None:
    length = MEAS_TYPES[kind].data_length
    is_counted = MEAS_TYPES[kind].data_format in ("raw", "string", "command")
    data = bytes((kind, 1)) + b"1" * 2 if is_counted else bytes((kind,)) + b"\x01" * length
    data = data if MEAS_TYPES[kind].data_format in ("command",) or not is_counted else data[:-1]
    decode_objects(data, ADDRESS, "")
    with pytest.raises(FrameError):
        decode_objects(data[:-1], ADDRESS, "")


def test_objects_before_an_unknown_one_count() -> None:
    assert [v.name for v in decode("02ca09ee0102").values] == ["temperature"]
    with pytest.raises(FrameError) as raised:
        decode("ee0102")
    assert raised.value.fault is FrameFault.NOTHING_KNOWN


def test_an_exception_of_the_library_drops_the_packet(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise IndexError("out of range")

    monkeypatch.setattr(BTHomeBluetoothDeviceData, "update", fail)
    with pytest.raises(FrameError) as raised:
        decode(CLIMATE)
    assert raised.value.fault is FrameFault.UNREADABLE
