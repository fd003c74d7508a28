"""Carries chunks over Bluetooth LE: a GATT peripheral with one service, for one central at a time.

The gateway is the central. It writes to RX without a response and subscribes to TX; LAYOUT has the
version of this layout, because systems remember the handles of a device. Nothing here identifies
anybody: the sealed stream in the chunks does. A stack does not report subscribers, so the gateway's
first write tells that it hears.

The MTU is not trusted: the stream makes smaller chunks when those of this size do not pass. A write
that comes while the queue is full is dropped and counted, and sent again by the stream.

The service is advertised while connect() waits for a central. A stack may stop advertising without
a word, so it is restarted after some minutes without a central, and then the board is reset.

Handlers of events run between any two instructions, on some boards in another thread. They change
single values and a deque that was made once, and wake a task.
"""

import asyncio
import os
import time
from collections import deque

import bluetooth
from device.errors import LinkLost
from micropython import const

LAYOUT_VERSION = const(1)
_HAS_DATA = const(1)  # flags in the advertisement
_WANTS_TO_JOIN = const(2)
_CREDENTIALS = const("credentials.json")

_CONNECTED = const(1)  # events of the stack
_DISCONNECTED = const(2)
_WRITTEN = const(3)
_MTU = const(21)

_LARGEST_MTU = const(517)
_LEAST_MTU = const(23)
_ATT_HEAD = const(3)
_LARGEST_CHUNK = const(244)  # fits one packet of the link layer with its longest payload
_LEAST_CHUNK = const(7)
_BUFFER_BYTES = const(256)
_QUEUE_CHUNKS = const(10)  # the window of the stream is smaller
_INTERVAL_US = const(250000)
_LOOK_MS = const(1000)  # between two looks at what should be advertised
_FIRST_WRITE_MS = const(5000)  # the gateway's limit for it; then the device speaks first
_BUSY_MS = const(20)  # between two tries when the stack has no memory for a notification
_BUSY_TRIES = const(250)
_RESTART_AT = const(3)  # silent rounds: switch the stack off and on
_RESET_AT = const(24)  # reset the board

_SERVICE = const("8ec0a1e0-4ec7-4b1e-9e0d-7e0c0de0cafe")
_RX = const("8ec0a1e1-4ec7-4b1e-9e0d-7e0c0de0cafe")
_TX = const("8ec0a1e2-4ec7-4b1e-9e0d-7e0c0de0cafe")
_LAYOUT = const("8ec0a1e3-4ec7-4b1e-9e0d-7e0c0de0cafe")


class BlePeripheral:
    """The link to one central after another; after connect() a port for chunks."""

    def __init__(self, wait_ms, reset, waiting):
        self.restarts = 0  # of the stack
        self.dropped = 0  # chunks that came while the queue was full
        self.centrals = 0  # so far
        self._wait_ms = wait_ms  # for a central; then it is a silent round
        self._reset = reset
        self._waiting = waiting  # the gateway comes first to devices that have something to send
        self._ble = bluetooth.BLE()
        self._handles = None  # of RX, TX and LAYOUT; None while the radio is off
        self._central = None  # its connection handle
        self._served = -1  # the number of the central that connect() returned for
        self._done = 0  # the number of the central that was dropped last
        self._has_written = False
        self._mtu = _LEAST_MTU
        self._shown = -1  # flags
        self._silent_rounds = 0
        self._chunks = deque((), _QUEUE_CHUNKS)
        self._changed = asyncio.ThreadSafeFlag()

    @property
    def chunk_bytes(self):
        """The largest chunk that the link is said to carry."""
        return min(self._mtu - _ATT_HEAD, _LARGEST_CHUNK)

    async def connect(self):
        """Return when a new central has come that hears; LinkLost when none does."""
        self._silent_rounds += 1  # unless one comes
        try:
            self._hang_up()
            self._recover(self._silent_rounds - 1)
            await self._find_central()
        except OSError as exc:
            raise LinkLost("cannot use Bluetooth: %s" % exc)
        self._silent_rounds = 0
        self._served = self.centrals
        started = time.ticks_ms()
        while not self._has_written:
            left_ms = _FIRST_WRITE_MS - time.ticks_diff(time.ticks_ms(), started)
            if left_ms <= 0:
                return
            await self._wait(left_ms)
            self._need()

    async def receive(self):
        """Return the next chunk; LinkLost when the central has gone. One task at a time."""
        while True:
            self._need()
            if self._chunks:
                return self._chunks.popleft()
            await self._changed.wait()

    async def send(self, chunk):
        """Notify the central; waits while the stack is busy, LinkLost when the central has gone."""
        for _ in range(_BUSY_TRIES):
            self._need()
            try:
                self._ble.gatts_notify(self._central, self._handles[1], chunk)
                return
            except OSError:  # no memory for it: stacks differ in the number
                await asyncio.sleep_ms(_BUSY_MS)
        raise LinkLost("cannot notify: the Bluetooth stack is busy")

    def close(self, chunk):
        """Send a last chunk if that is possible at once; the next session uses the same link."""
        if self._central is not None and self._served == self.centrals:
            try:
                self._ble.gatts_notify(self._central, self._handles[1], chunk)
            except OSError:
                pass

    def _hang_up(self):
        """Drop the central that was served; one that has come since then waits."""
        if self._served == self.centrals:
            self._done = self.centrals
            if self._central is not None:
                self._drop(self._central)
        self._served = self._shown = -1

    def _recover(self, rounds):
        """Do more and more about a radio that nobody has heard for so many rounds."""
        if not rounds or rounds % _RESTART_AT:
            return
        if rounds % _RESET_AT == 0:
            print("device: nobody connects by Bluetooth: resetting")
            self._reset()
        self.restarts += 1
        print("device: Bluetooth restarted, %d times so far" % self.restarts)
        self._handles = self._central = None
        self._ble.active(False)

    async def _find_central(self):
        if self._handles is None:
            self._start()
        started = time.ticks_ms()
        while self._central is None or self._done == self.centrals:
            if self._central is None and self._shown != self._flags():
                self._advertise()
            left_ms = self._wait_ms - time.ticks_diff(time.ticks_ms(), started)
            if left_ms <= 0:
                raise LinkLost("no gateway has connected by Bluetooth")
            await self._wait(min(left_ms, _LOOK_MS))

    def _start(self):
        ble = self._ble
        ble.active(True)
        ble.irq(self._handle)
        ble.config(mtu=_LARGEST_MTU)
        rx = (bluetooth.UUID(_RX), bluetooth.FLAG_WRITE_NO_RESPONSE)
        tx = (bluetooth.UUID(_TX), bluetooth.FLAG_NOTIFY)
        layout = (bluetooth.UUID(_LAYOUT), bluetooth.FLAG_READ)
        service = (bluetooth.UUID(_SERVICE), (rx, tx, layout))
        (handles,) = ble.gatts_register_services((service,))
        ble.gatts_set_buffer(handles[0], _BUFFER_BYTES)
        ble.gatts_write(handles[2], bytes((LAYOUT_VERSION,)))
        self._handles = handles

    def _flags(self):
        flags = _HAS_DATA if len(self._waiting) else 0
        try:
            os.stat(_CREDENTIALS)
        except OSError:
            flags |= _WANTS_TO_JOIN
        return flags

    def _advertise(self):
        flags = self._flags()
        data = b"\x02\x01\x06\x13\x21" + bytes(bluetooth.UUID(_SERVICE))
        data += bytes((flags, LAYOUT_VERSION))  # 23 of 31 bytes
        self._shown = flags  # an event may come while the stack is asked
        self._ble.gap_advertise(_INTERVAL_US, data)

    def _drop(self, central):
        try:
            self._ble.gap_disconnect(central)
        except OSError:  # it has gone
            pass

    def _need(self):
        if self._central is None or self._served != self.centrals:
            raise LinkLost("the gateway ended the Bluetooth link")

    async def _wait(self, limit_ms):
        try:
            await asyncio.wait_for_ms(self._changed.wait(), limit_ms)
        except asyncio.TimeoutError:
            pass

    def _handle(self, event, data):
        if event == _WRITTEN:
            self._take(data[0], data[1])
        elif event == _CONNECTED:
            if self._central is not None:
                self._drop(data[0])
                return
            while self._chunks:
                self._chunks.popleft()
            self._mtu = _LEAST_MTU
            self._has_written = False
            self._central = data[0]
            self._shown = -1  # a stack stops advertising then
            self.centrals += 1
        elif data[0] != self._central:
            return
        elif event == _DISCONNECTED:
            self._central = None
        elif event == _MTU:
            self._mtu = data[1]
        self._changed.set()

    def _take(self, central, handle):
        if central != self._central or handle != self._handles[0]:
            return
        chunk = self._ble.gatts_read(handle)
        self._has_written = True
        if len(chunk) < _LEAST_CHUNK:
            return
        if len(self._chunks) < _QUEUE_CHUNKS:
            self._chunks.append(chunk)
        else:
            self.dropped += 1
