"""Drives ESP32 boards. Never run on hardware so far; see docs/device.md."""

import esp32
import machine

from device.board_machine import MachineBoard

_LED_PIN = 2  # ESP32-DevKitC and most boards like it


class Board(MachineBoard):
    """An ESP32 with Wi-Fi."""

    NAME = "esp32"

    def __init__(self):
        super().__init__()
        self._led = machine.Pin(_LED_PIN, machine.Pin.OUT)

    def light(self, on):
        """Switch the board's LED."""
        self._led.value(1 if on else 0)

    def celsius(self):
        """Return the chip's temperature; the first ESP32 has no calibrated sensor."""
        if hasattr(esp32, "mcu_temperature"):
            return esp32.mcu_temperature()
        return None
