"""Bluetooth stacks that fail, and boards that have no Wi-Fi meanwhile. On MicroPython only."""

import asyncio
import json
import sys


class Uuid:
    def __init__(self, text):
        self.text = text

    def __iter__(self):
        return iter(bytes(16))


class Stack:
    """As much of bluetooth.BLE as is used; a test makes it fail."""

    def __init__(self):
        self.fails = {}  # method: the errno that it raises
        self.calls = []
        self.handler = None
        self.sent = []
        self.written = {}

    def __call__(self):
        return self

    def active(self, on):
        self._call("active", on)

    def irq(self, handler):
        self.handler = handler

    def config(self, **values):
        pass

    def gatts_register_services(self, services):
        return ((11, 13, 16),)

    def gatts_set_buffer(self, handle, size):
        self._call("buffer", handle, size)

    def gatts_write(self, handle, value):
        self.written[handle] = value

    def gatts_read(self, handle):
        return self.written[handle]

    def gatts_notify(self, central, handle, data):
        self._call("notify", central)
        self.sent.append(data)

    def gap_advertise(self, interval, data=None):
        self._call("advertise", interval is not None)
        self.data = data or self.data

    def gap_disconnect(self, central):
        self._call("drop", central)

    def _call(self, name, *arguments):
        self.calls.append((name,) + arguments)
        if name in self.fails:
            raise OSError(self.fails[name])

    def write(self, central, value):
        self.written[11] = value
        self.handler(3, (central, 11))

    def come(self, central):
        self.handler(1, (central, 1, memoryview(b"aaaaaa")))

    def go(self, central):
        self.handler(2, (central, 1, memoryview(b"aaaaaa")))


class Module:
    """An attribute bag that stands for a module."""


STACK = Stack()
bluetooth = Module()
bluetooth.BLE = STACK
bluetooth.UUID = Uuid
bluetooth.FLAG_WRITE_NO_RESPONSE = bluetooth.FLAG_NOTIFY = bluetooth.FLAG_READ = 0
sys.modules["bluetooth"] = bluetooth

from device.ble import BlePeripheral  # noqa: E402
from device.errors import LinkLost  # noqa: E402

CHUNK = b"a chunk"


def new(wait_ms=50, outbox=(), reset=None):
    STACK.__init__()
    return BlePeripheral(wait_ms, reset, outbox)


def lost(work):
    """Run a coroutine that has to raise LinkLost; return its text."""
    try:
        asyncio.run(work)
    except LinkLost as exc:
        return str(exc)
    raise AssertionError("no LinkLost")


async def linked(peripheral, central=1):
    """Let a central come, and write."""
    connecting = asyncio.create_task(peripheral.connect())
    await asyncio.sleep_ms(5)
    STACK.come(central)
    STACK.write(central, b"\0")
    await connecting


def test_a_stack_that_does_not_start_is_tried_again_and_then_the_board_resets():
    resets = []
    peripheral = new(reset=lambda: resets.append(1))
    STACK.fails["active"] = 19
    for _ in range(25):
        assert not resets
        assert "cannot use Bluetooth" in lost(peripheral.connect())
    assert resets == [1]
    STACK.fails.clear()
    asyncio.run(linked(peripheral))


def test_a_silent_stack_is_restarted_every_third_round_and_not_after_a_central():
    peripheral = new(5)
    restarts = []
    for _ in range(7):
        lost(peripheral.connect())
        restarts.append(peripheral.restarts)
    assert restarts == [0, 0, 0, 1, 1, 1, 2]
    assert STACK.calls.count(("active", False)) == 2
    asyncio.run(linked(peripheral))
    STACK.go(1)
    for _ in range(3):
        lost(peripheral.connect())
    assert peripheral.restarts == 2


def test_a_central_that_comes_between_two_rounds_is_served_and_the_last_one_dropped():
    async def script():
        await linked(peripheral, 1)
        connecting = asyncio.create_task(peripheral.connect())
        await asyncio.sleep_ms(5)
        assert ("drop", 1) in STACK.calls
        STACK.go(1)
        await asyncio.sleep_ms(5)
        STACK.come(2)
        connecting.cancel()
        STACK.write(2, b"\0")
        await peripheral.connect()
        assert ("drop", 2) not in STACK.calls
        await peripheral.send(CHUNK)

    peripheral = new(1000)
    asyncio.run(script())


def test_waits_while_the_stack_has_no_memory_for_a_notification():
    async def script():
        await linked(peripheral)
        STACK.fails["notify"] = 12
        sending = asyncio.create_task(peripheral.send(CHUNK))
        await asyncio.sleep_ms(50)
        assert not STACK.sent
        STACK.fails.clear()
        await sending
        assert STACK.sent == [CHUNK]
        STACK.fails["notify"] = 107
        sending = asyncio.create_task(peripheral.send(CHUNK))
        await asyncio.sleep_ms(30)
        STACK.go(1)
        await sending

    peripheral = new()
    assert "ended the Bluetooth link" in lost(script())


def test_says_nothing_before_the_gateway_has_written():
    """Before that nobody may have subscribed, and a stack does not tell."""

    async def script():
        connecting = asyncio.create_task(peripheral.connect())
        await asyncio.sleep_ms(5)
        STACK.come(1)
        await asyncio.sleep_ms(100)
        assert not connecting.done()
        STACK.write(1, b"\0")
        await connecting

    peripheral = new(1000)
    asyncio.run(script())


def test_a_second_central_is_dropped_and_changes_nothing():
    async def script():
        await linked(peripheral)
        STACK.handler(21, (1, 300))
        STACK.come(2)
        assert ("drop", 2) in STACK.calls
        STACK.write(2, b"from a stranger")
        STACK.handler(21, (2, 23))
        STACK.go(2)
        STACK.write(1, CHUNK)
        assert await peripheral.receive() == CHUNK
        assert peripheral.chunk_bytes == 244

    peripheral = new()
    asyncio.run(script())


def test_the_queue_holds_ten_and_counts_the_rest():
    async def script():
        await linked(peripheral)
        for number in range(14):
            STACK.write(1, CHUNK + bytes([number]))
        for number in range(10):
            assert (await peripheral.receive())[-1] == number
        assert peripheral.dropped == 4
        STACK.go(1)
        await peripheral.receive()

    peripheral = new()
    lost(script())


def test_advertises_whether_it_wants_to_join_and_has_data():
    async def script():
        connecting = asyncio.create_task(peripheral.connect())
        await asyncio.sleep_ms(5)
        assert STACK.data[-2:] == b"\x02\x01"
        outbox.append("a reading")
        await asyncio.sleep_ms(1100)
        assert STACK.data[-2:] == b"\x03\x01"
        assert len(STACK.data) == 23
        connecting.cancel()

    outbox = []
    peripheral = new(5000, outbox)
    asyncio.run(script())


def test_advertises_again_when_a_central_comes_and_goes_at_once():
    async def script():
        connecting = asyncio.create_task(peripheral.connect())
        await asyncio.sleep_ms(5)
        STACK.come(1)
        STACK.go(1)
        await asyncio.sleep_ms(5)
        assert STACK.calls.count(("advertise", True)) == 2
        connecting.cancel()

    peripheral = new(1000)
    asyncio.run(script())


def test_a_board_with_bluetooth_never_starts_wifi():
    """ESP32-C3 and C6 do not have the memory for both."""
    from device.config import parse_config
    from device.link import Link

    class Machine:
        @staticmethod
        def unique_id():
            return b"1234"

        reset = None

    sys.modules["machine"] = Machine
    from device.board_machine import MachineBoard

    config = parse_config(json.dumps({"name": "n", "link": "ble", "timeout_s": 0.1}))
    new()
    link = Link(config, MachineBoard(), [], [], None, None)
    assert "no gateway" in lost(link._round())
    assert ("advertise", True) in STACK.calls
    assert "network" not in sys.modules
