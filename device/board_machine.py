"""Holds what boards with the modules `machine` and `network` have in common."""

import binascii
import time

import machine

from device.flash import load

_SECONDS_1970_TO_2000 = 946684800


class MachineBoard:
    """A chip with Wi-Fi; a board's own file adds its LED and its sensor."""

    NAME = ""  # starts the board's unique id

    def __init__(self):
        self._known_wlan = None
        self._watchdog = None

    @property
    def _wlan(self):
        if self._known_wlan is None:  # a board on a serial line may have no Wi-Fi
            import network

            self._known_wlan = network.WLAN(network.STA_IF)
        return self._known_wlan

    def unique_id(self):
        """Return the chip's own id."""
        return self.NAME + "-" + binascii.hexlify(machine.unique_id()).decode()

    async def connect_network(self, config):
        """Join Wi-Fi unless we are in it."""
        if not self._wlan.isconnected():
            await load("wifi").connect_wifi(self._wlan, config)

    async def recover_network(self, step):
        """Restart a network that lets nothing through; return whether it did something."""
        return await load("wifi").recover_wifi(self._wlan, step, self.reset)

    def open_serial(self, name, baud):
        """Return the line of the REPL, or a UART."""
        return load("board_serial").open_board_line(name, baud)

    def dns(self):
        """Return the (address,) of the network's DNS server."""
        return (self._wlan.ifconfig()[3],)

    def rssi(self):
        """Return the signal of the network, in dBm."""
        return self._wlan.status("rssi")

    def now(self):
        """Return None: the chip's clock has no battery, and may hold no more than a floor."""
        return None

    def set_time(self, unix):
        """Set the clock of the chip, which TLS and files use."""
        try:
            t = time.gmtime(unix - self._epoch())
            machine.RTC().datetime((t[0], t[1], t[2], t[6], t[3], t[4], t[5], 0))
        except (OverflowError, ValueError, OSError) as exc:  # after 2038 on some chips
            print("device: cannot set the clock to %s: %s" % (unix, exc))

    def set_floor(self, unix):
        """Set the clock of the chip unless it is later."""
        if time.time() + self._epoch() < unix:
            self.set_time(unix)

    def start_watchdog(self, seconds):
        """Reset the board when feed() is not called for so long; it cannot be stopped."""
        if self._watchdog is None:
            self._watchdog = machine.WDT(timeout=int(seconds * 1000))

    def feed(self):
        """Tell the watchdog that the program lives."""
        if self._watchdog is not None:
            self._watchdog.feed()

    def rest(self):
        """Keep the watchdog quiet after the program, for the person at the REPL."""
        if self._watchdog is not None:
            timer = machine.Timer(-1)
            timer.init(period=1000, mode=machine.Timer.PERIODIC, callback=lambda _: self.feed())

    def was_power_on(self):
        """Return whether power, not a reset, started the board."""
        return machine.reset_cause() == machine.PWRON_RESET

    def reset(self):
        """Start again."""
        machine.reset()

    def _epoch(self):
        # MicroPython counts from 2000 on most boards
        return _SECONDS_1970_TO_2000 if time.gmtime(0)[0] == 2000 else 0
