"""Opens the serial lines of boards and of the Unix port, for serial_port.py.

A line has async writable() and read(count), write(octets), which returns how many it took, and
close(). is_console tells whether it is the line of the REPL as well: then Ctrl-C, which chunks
contain, has no effect until release(), not even while no connection stands, for the gateway may
still be sending.
"""

import asyncio
import select
import sys

from device.errors import ConfigError
from micropython import const

CONSOLE = "console"

_BUFFER_BYTES = const(2048)  # the window of protocol/chunks/stream.py
_CTRL_C = const(3)


def open_board_line(name, baud):
    """Return the console, or "uart<number>" or "uart<number>:<tx>,<rx>" of a board."""
    if name in ("", CONSOLE):
        return ByteLine(sys.stdin.buffer, sys.stdout.buffer, sys.stdin, True)
    try:
        number, _, pins = name[4:].partition(":")
        if name[:4] != "uart":
            raise ValueError
        pins = [int(pin) for pin in pins.split(",")] if pins else []
        return UartLine(int(number), baud, *pins)
    except (ValueError, TypeError):
        raise ConfigError("cannot use serial %s: console, uart1 and uart1:4,5 are known" % name)


def open_unix_line(name):
    """Return the console, or the terminal at a path, of the Unix port."""
    import termios

    if name in ("", CONSOLE):
        termios.setraw(0)  # else the terminal makes a signal of Ctrl-C
        return ByteLine(sys.stdin.buffer, sys.stdout.buffer, sys.stdin, True)
    file = open(name, "r+b")
    termios.setraw(file.fileno())
    return ByteLine(file, file, file, False)


class UartLine:
    """A UART of a board. Never run on hardware so far; see docs/device.md."""

    is_console = False

    def __init__(self, number, baud, tx=None, rx=None):
        import machine

        pins = {} if tx is None else {"tx": machine.Pin(tx), "rx": machine.Pin(rx)}
        # timeout 0: read() and write() return at once
        self._uart = machine.UART(
            number, baud, rxbuf=_BUFFER_BYTES, txbuf=_BUFFER_BYTES, timeout=0, **pins
        )
        self._reader = asyncio.StreamReader(self._uart)

    def writable(self):
        """Wait until it takes something."""
        yield asyncio.core._io_queue.queue_write(self._uart)

    async def read(self, count):
        """Return what has come."""
        return await self._reader.read(count)

    def write(self, octets):
        """Send what it takes now."""
        return self._uart.write(octets)

    def close(self):
        """Give the UART back."""
        self._uart.deinit()


class ByteLine:
    """Two streams whose read() waits for all that it is asked for; so it is asked for one byte."""

    def __init__(self, reads, writes, polled, is_console):
        self.is_console = is_console
        self._reads, self._writes, self._polled = reads, writes, polled
        self._poll = select.poll()
        self._poll.register(polled, select.POLLIN)
        if is_console:
            _set_interrupt(-1)

    def writable(self):
        """Wait until it takes something."""
        if self.is_console:  # not every board can wait for it
            return asyncio.sleep_ms(0)
        return _until_writable(self._writes)

    def read(self, count):
        """Return what has come."""
        yield asyncio.core._io_queue.queue_read(self._polled)
        octets = b""
        while len(octets) < count and self._poll.poll(0):
            byte = self._reads.read(1)
            if not byte:
                break
            octets += byte
            if self.is_console and byte == b"\x03":
                break  # the bytes behind Ctrl-C are for the REPL
        return octets

    def write(self, octets):
        """Send all."""
        return self._writes.write(octets)

    def close(self):
        """Close the line, if nothing else uses it."""
        if not self.is_console:
            self._reads.close()

    def release(self):
        """Give the console back to the person who has pressed Ctrl-C."""
        _set_interrupt(_CTRL_C)


def _until_writable(stream):
    yield asyncio.core._io_queue.queue_write(stream)


def _set_interrupt(byte):
    import micropython

    if hasattr(micropython, "kbd_intr"):
        micropython.kbd_intr(byte)
