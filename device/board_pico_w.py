"""Drives Raspberry Pi Pico W and Pico 2 W. Never run on hardware so far; see docs/device.md."""

import binascii
import time

import machine
import network

from device.clock import epoch_seconds, unix_seconds
from device.sensors.temperature import rp2_celsius
from device.wifi import connect_wifi, recover_wifi

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

    async def recover_network(self, lost_rounds):
        """Restart a network that lets nothing through; return whether it did something."""
        return await recover_wifi(self._wlan, lost_rounds, self.reset)

    def now(self):
        """Return unix seconds, or None while the clock has not been set."""
        return unix_seconds(time.time(), time.gmtime(0)[0])

    def set_time(self, unix):
        """Set the clock of the chip, which TLS and files use."""
        t = time.gmtime(epoch_seconds(unix, time.gmtime(0)[0]))
        machine.RTC().datetime((t[0], t[1], t[2], t[6], t[3], t[4], t[5], 0))

    def light(self, on):
        """Switch the board's LED."""
        self._led.value(1 if on else 0)

    def celsius(self):
        """Return the chip's temperature."""
        return rp2_celsius(self._adc.read_u16())

    def reset(self):
        """Start again."""
        machine.reset()
