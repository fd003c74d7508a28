"""Drives Raspberry Pi Pico W and Pico 2 W. Never run on hardware so far; see docs/device.md."""

import binascii
import time

import machine
import network

from device.clock import unix_seconds
from device.sensors.temperature import rp2_celsius
from device.wifi import connect_wifi

_TEMPERATURE_ADC = 4  # RP2040 datasheet 4.9.5: the sensor is ADC input 4


class Board:
    """A Pico W; its LED is connected to the Wi-Fi chip."""

    def __init__(self):
        self._wlan = network.WLAN(network.STA_IF)
        self._led = machine.Pin("LED", machine.Pin.OUT)
        self._adc = machine.ADC(_TEMPERATURE_ADC)

    def unique_id(self):
        """Return the flash chip's id."""
        return "pico-" + binascii.hexlify(machine.unique_id()).decode()

    async def connect_network(self, config):
        """Join Wi-Fi unless we are in it."""
        await connect_wifi(self._wlan, config)

    async def live(self):
        """Nothing beside the program."""

    def now(self):
        """Return unix seconds, or None while the clock has not been set."""
        return unix_seconds(time.time(), time.gmtime(0)[0])

    def light(self, on):
        """Switch the board's LED."""
        self._led.value(1 if on else 0)

    def celsius(self):
        """Return the chip's temperature."""
        return rp2_celsius(self._adc.read_u16())

    def reset(self):
        """Start again."""
        machine.reset()
