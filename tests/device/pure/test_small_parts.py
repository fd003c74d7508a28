"""Clock and sensors; runs on CPython and on MicroPython."""

from device.ble_start import open_radio
from device.board import load_board
from device.clock import unix_seconds
from device.config import parse_config
from device.errors import ConfigError
from device.sensors.switch import SimulatedSwitch
from device.sensors.temperature import WanderingTemperature, rp2_celsius
from tests.device.raising import raised


def test_clock_of_either_epoch_and_a_clock_never_set() -> None:
    assert unix_seconds(1790000000.7, 1970) == 1790000000
    assert unix_seconds(1790000000 - 946684800, 2000) == 1790000000
    assert unix_seconds(17, 1970) is None
    assert unix_seconds(17, 2000) is None


def test_a_simulated_room_wanders_but_stays_a_room() -> None:
    steps = [1.0, -1.0, 1.0, 1.0]
    sensor = WanderingTemperature(20.0, 0.5, lambda _, high: steps.pop(0) * high)
    assert [sensor.read() for _ in range(4)] == [20.5, 19.98, 20.48, 20.95]
    sensor = WanderingTemperature()
    readings = [sensor.read() for _ in range(2000)]
    assert 14 < min(readings) < max(readings) < 28
    assert len(set(readings)) > 50


def test_the_pico_sensor_follows_its_data_sheet() -> None:
    # RP2040 datasheet 4.9.5: 0.706 V at 27 °C, 1.721 mV less for each °C
    at_27 = round(0.706 / 3.3 * 65535)
    assert abs(rp2_celsius(at_27) - 27) < 0.1
    assert abs(rp2_celsius(at_27 - round(0.01721 / 3.3 * 65535)) - 37) < 0.1


def test_a_switch_takes_true_and_false_only() -> None:
    switch = SimulatedSwitch()
    switch.set(True)
    switch.set(False)
    assert switch.history == [True, False]
    assert not switch.is_on
    assert raised(ValueError, switch.set, 1) == "on is not true or false"


def test_an_unknown_board_is_named() -> None:
    assert "cannot run on nrf52" in raised(ConfigError, load_board, "nrf52")


def test_a_firmware_without_bluetooth_says_so() -> None:
    config = parse_config('{"name": "n", "host": "h"}')
    assert open_radio(config, None, ()) is None
    config = parse_config('{"name": "n", "link": "ble"}')
    error = raised(ConfigError, open_radio, config, None, ())
    assert "no module bluetooth" in error
