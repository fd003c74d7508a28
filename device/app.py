"""Runs a device program: sends readings, answers commands.

    from device import Device

    device = Device()

    @device.every(5, unit="°C")
    def temperature():
        return 21.5

    @device.command
    async def light(args):
        return {"on": args["on"]}

    device.run()

A reading goes into the outbox, which the link empties; commands.py runs the handlers.
"""

import asyncio
import sys
import time

from device import contract, flash
from device.board import load_board
from device.commands import Commands, report, value_of
from device.link import PACKET_LIMIT, Link
from device.outbox import DELIVERED, Outbox

_HEAD_BYTES = 96  # of a PUBLISH: fixed header, packet id, the device's prefix
_RESET_DELAY_S = 3  # so that an installer can read the traceback


class Device:
    """Registers the sensors and handlers of a program, and runs it."""

    def __init__(self, config=None, board=None):
        self.config = config or flash.load_config()
        self.board = board or load_board()
        self.outbox = Outbox(self.config.outbox_limit, self.config.outbox_bytes)
        self.link = Link(self.config, self.board, self.outbox, self._take_command)
        self._commands = Commands(self._put, self.link.acknowledge)
        self._sensors = []
        self._seqs = {}

    def every(self, seconds, name=None, unit=None):
        """Publish what the function returns, every so many seconds; None publishes nothing."""

        def register(function):
            reading = contract.check_name(name or function.__name__)
            self._sensors.append((int(seconds * 1000), reading, unit, function))
            return function

        return register

    def command(self, name):
        """Run the function for commands of this name; what it returns goes into the reply."""
        if callable(name):  # @device.command without a name: the function's own
            return self.command(name.__name__)(name)

        def register(function):
            self._commands.register(name, function)
            return function

        return register

    async def publish(self, name, value, unit=None):
        """Publish one reading; return True once the gateway has acknowledged it.

        Waits as long as the gateway is away. False: the reading had to make room for newer ones.
        """
        ended = asyncio.Event()
        entry = self._put_reading(contract.check_name(name), value, unit, ended.set)
        await ended.wait()
        return entry.state == DELIVERED

    def run(self):
        """Run until power is lost; after an error that is not a handler's, reset the board."""
        try:
            asyncio.run(self.main())
        except KeyboardInterrupt:
            print("device: stopped")
            return
        except Exception as exc:
            sys.print_exception(exc)
        time.sleep(_RESET_DELAY_S)
        self.board.reset()

    async def main(self):
        """Run everything; for programs that have an event loop of their own."""
        tasks = [self._sample(*sensor) for sensor in self._sensors]
        await asyncio.gather(self.link.run(), self._commands.run(), self.board.live(), *tasks)

    async def _sample(self, interval_ms, name, unit, function):
        due = time.ticks_ms()
        while True:
            try:
                value = await value_of(function())
                if value is not None:
                    self._put_reading(name, value, unit, None)
            except Exception as exc:  # one broken sensor must not stop the others
                report(name, exc)
            due = time.ticks_add(due, interval_ms)
            late_ms = time.ticks_diff(time.ticks_ms(), due)
            if late_ms > 0:
                due = time.ticks_add(due, late_ms)
            await asyncio.sleep_ms(max(0, -late_ms))

    def _put_reading(self, name, value, unit, on_end):
        seq = self._seqs[name] = self._seqs.get(name, 0) + 1
        payload = contract.encode_reading(value, unit, self.board.now(), seq)
        return self._put(contract.reading_path(name), payload, on_end)

    def _put(self, path, payload, on_end):
        size = len(path) + len(payload) + _HEAD_BYTES
        if size > PACKET_LIMIT:
            raise ValueError("cannot publish: %d bytes are more than %d" % (size, PACKET_LIMIT))
        entry = self.outbox.put(path, payload, on_end)
        self.link.wake()
        return entry

    def _take_command(self, command):
        self._commands.take(command)
