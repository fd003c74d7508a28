"""Drives Raspberry Pi Pico W and Pico 2 W. Never run on hardware so far; see docs/device.md."""

import machine

from device.board_machine import MachineBoard

_TEMPERATURE_ADC = 4  # RP2040 datasheet 4.9.5: the sensor is ADC input 4


class Board(MachineBoard):
    """A Pico W; its LED is connected to the Wi-Fi chip."""

    NAME = "pico"

    def __init__(self):
        super().__init__()
        self._led = machine.Pin("LED", machine.Pin.OUT)
        self._adc = machine.ADC(_TEMPERATURE_ADC)

    def light(self, on):
        """Switch the board's LED."""
        self._led.value(1 if on else 0)

    def celsius(self):
        """Return the chip's temperature."""
        from device.sensors.temperature import rp2_celsius

        return rp2_celsius(self._adc.read_u16())
