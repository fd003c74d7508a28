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

readings.py decides where a reading waits, link.py sends it; commands.py runs the handlers.
"""

import asyncio
import gc
import sys
import time

from device import contract
from device.board import load_board
from device.calls import Failures
from device.clock import DeviceClock
from device.commands import Commands
from device.flash import load
from device.link import Link
from device.outbox import DELIVERED, Outbox
from device.readings import Readings
from device.sampling import Sampler
from micropython import const

_RESET_DELAY_S = const(3)  # so that an installer can read the traceback
_COLLECT_BYTES = const(8192)  # allocated since the last collection
_FAULT_LIMIT = const(5)  # of one task, in a row
_FAULT_PAUSE_MS = const(200)
_STEADY_MS = const(60000)  # a task that ran so long was a good one
_CHECK_MS = const(1000)


class Device:
    """Registers the sensors and handlers of a program, and runs it."""

    def __init__(self, config=None, board=None):
        self.config = config = config or load("stored").load_config()
        self.board = board = board or load_board()
        self.failures = Failures()
        self.clock = DeviceClock(board, time.ticks_ms, time.ticks_diff)
        self.outbox = outbox = Outbox(config.outbox_limit, config.outbox_bytes)
        self.readings = Readings(outbox, config.queue_bytes, self.clock, self._wake_link)
        self.link = Link(config, board, outbox, self.readings, self.clock, self.failures)
        limit_ms = int(config.call_limit_s * 1000)
        self._commands = Commands(outbox, self.clock, self.failures, limit_ms, self.link)
        self._sampler = Sampler(self._put_reading, self.failures, limit_ms)
        self._sensors = []
        self._seqs = {}
        self._tasks = []
        self._fault = None
        boots = load("boots")
        self.readings.run_number, self.crashes = boots.begin(board)
        boots = None
        if config.watchdog_s:
            board.start_watchdog(config.watchdog_s)
        gc.collect()
        if self.crashes >= config.crash_limit:
            load("safe_mode").take_over(self, self.crashes)

    def every(self, seconds, name=None, unit=None):
        """Publish what the function returns, every so many seconds; None publishes nothing."""
        interval = load("intervals").interval_ms(seconds)
        contract.check_json(unit, 0)

        def register(function):
            reading = contract.check_name(name or function.__name__)
            self._sensors.append((interval, reading, unit, function))
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
        It waits in memory: the caller knows whether it arrived, and can repeat it.
        """
        ended = asyncio.Event()
        path, payload = self._encode(contract.check_name(name), value, unit, self.clock.now())
        entry = self.outbox.put(path, payload, ended.set)
        self.link.wake()
        await ended.wait()
        return entry.state == DELIVERED

    def report(self, **attributes):
        """Tell the gateway about the device itself: battery=80 (percent), door="open"."""
        payload = contract.encode_json(attributes)
        contract.check_size("attributes", payload)
        self.outbox.put("attributes", payload)
        self.link.wake()

    def run(self):
        """Run until power is lost; after errors that do not pass, reset the board."""
        gc.collect()
        gc.threshold(_COLLECT_BYTES)
        try:
            asyncio.run(self.main())
        except KeyboardInterrupt:
            print("device: stopped")
            load("boots").forgive()
            self.board.rest()
            return
        except SystemExit:  # a soft reset would not be counted
            self.board.reset()
        except BaseException as exc:
            gc.collect()
            sys.print_exception(exc)
            load("boots").keep_trace(exc)
        time.sleep(_RESET_DELAY_S)
        self.board.reset()

    async def main(self):
        """Run everything; for programs that have an event loop of their own."""
        ended = asyncio.Event()
        if self.crashes:
            self._put_reading("crashes", self.crashes, None)
        works = self._tasks + [
            ("link", self.link.run, (self._commands.take,)),
            ("check", self._check, ()),
        ]
        if hasattr(self.board, "live"):
            works.append(("board", self.board.live, ()))
        works += [(sensor[1], self._sampler.run, sensor) for sensor in self._sensors]
        for work in works:
            asyncio.create_task(self._keep_running(ended, *work))
        works = None
        await ended.wait()
        raise self._fault

    def add_task(self, name, work, args=()):
        """Run a coroutine function beside the program; for parts of the package."""
        self._tasks.append((name, work, args))

    async def _keep_running(self, ended, name, work, args):
        """Run a task again after an exception; give up, for a reset, when that does not help."""
        faults = 0
        while True:
            started = time.ticks_ms()
            try:
                return await work(*args)
            except Exception as exc:
                gc.collect()
                self.failures.note(name, exc)
                if time.ticks_diff(time.ticks_ms(), started) >= _STEADY_MS:
                    faults = 0
                faults += 1
                if faults >= _FAULT_LIMIT:
                    self._fault = exc
                    ended.set()
                    return
                self.link.fail("the task %s failed" % name)
            await asyncio.sleep_ms(_FAULT_PAUSE_MS << faults)

    async def _check(self):
        """Look after the link and the queue, about once a second."""
        pause_ms = min(_CHECK_MS, self.config.keepalive_s * 125)
        pause_ms = min(pause_ms, int(self.config.timeout_s * 250))
        while True:
            await asyncio.sleep_ms(pause_ms)
            self.board.feed()
            self.link.check()
            self.readings.check()
            if self.crashes and self.clock.uptime_s() * 1000 >= _STEADY_MS:
                self.crashes = 0
                load("boots").forgive()

    def _put_reading(self, name, value, unit):
        path, payload = self._encode(name, value, unit, None)
        self.readings.put(path, payload, self.clock.now())

    def _encode(self, name, value, unit, at):
        seq = self._seqs.get(name, 0) + 1
        path = "readings/" + name
        payload = contract.encode_reading(value, unit, at, seq)
        contract.check_size(path, payload)
        self._seqs[name] = seq
        return path, payload

    def _wake_link(self):
        self.link.wake()
