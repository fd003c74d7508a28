"""Drives the MicroPython unix port as a board; its flash is the working directory."""

import asyncio
import os
import sys
import time

from device import flash
from device.clock import unix_seconds

_ID = "board-id"
_WATCHDOG = "watchdog"  # SimulatedBoard reads the seconds in it, and looks at its time
_CAUSE = "reset-cause"  # SimulatedBoard writes it before each start
# SimulatedBoard holds our stdin open; its end means that power is gone, however its owner died.
_POWER_VARIABLE = "HECATE_BOARD_POWER"


class Board:
    """Has a network whenever the machine has one, and a light that is only a value."""

    def __init__(self):
        self.is_lit = False
        self._watchdog_s = 0

    def unique_id(self):
        """Return an id made on the first start."""
        try:
            known = flash.read_text(_ID)
        except ValueError:  # not UTF-8
            known = None
        if not known:
            known = "unix-" + "".join("%02x" % byte for byte in os.urandom(6))
            flash.write_atomic(_ID, known)
        return known

    async def connect_network(self, config):
        """Return at once: the machine's network is not ours to bring up."""

    async def recover_network(self, step):
        """Return False: the machine's network is not ours to restart."""
        return False

    async def live(self):
        """End the process when stdin ends, if that was asked for."""
        if os.getenv(_POWER_VARIABLE) != "stdin":
            return
        while await asyncio.StreamReader(sys.stdin).read(64):
            pass
        sys.exit(0)

    def now(self):
        """Return unix seconds."""
        return unix_seconds(time.time(), time.gmtime(0)[0])

    def set_time(self, unix):
        """Do nothing: the machine's clock is not ours to set."""

    def set_floor(self, unix):
        """Do nothing: the machine's clock is right."""

    def open_serial(self, name, baud):
        """Return the console, or the terminal at a path; its maker has set its speed."""
        return flash.load("board_serial").open_unix_line(name)

    def dns(self):
        """Return None: the machine's resolver is asked."""
        return None

    def start_watchdog(self, seconds):
        """Ask the simulator for a reset when feed() is not called for so long."""
        self._watchdog_s = seconds
        self.feed()

    def feed(self):
        """Tell the simulator that the program lives."""
        if self._watchdog_s and os.getenv(_POWER_VARIABLE) is not None:
            with open(_WATCHDOG, "w") as file:
                file.write(str(self._watchdog_s))

    def rest(self):
        """Take leave of the simulator's watchdog."""
        flash.remove(_WATCHDOG)

    def was_power_on(self):
        """Return whether the simulator switched the power on."""
        return flash.read_text(_CAUSE) in (None, "power")

    def light(self, on):
        """Remember and show the light."""
        self.is_lit = bool(on)
        print("device: light", "on" if on else "off")

    def celsius(self):
        """Return None: there is no sensor."""
        return None

    def reset(self):
        """End; the parent process starts us again."""
        sys.exit(1)
