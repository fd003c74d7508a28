"""Intervals, the clock and the queue in flash, where they need MicroPython's own modules."""

import asyncio
import os

from device import intervals, sampling
from device.calls import Failures
from device.clock import DeviceClock
from device.flash_queue import FlashQueue, decode_body, encode_record

DIRECTORY = "/tmp/hecate-test-queue-%d" % int.from_bytes(os.urandom(6), "little")


def refused(seconds):
    try:
        intervals.interval_ms(seconds)
    except ValueError as exc:
        return str(exc)
    raise AssertionError(seconds)


def test_intervals_are_checked_when_declared():  # case D10
    for seconds in (0, -1, 0.001, None, "5", True, float("nan"), float("inf"), 10**9):
        assert refused(seconds).startswith("cannot read every")
    assert intervals.interval_ms(604800) == 604800000


def test_long_intervals_are_waited_for_in_parts():  # case D10
    waited = []
    now = [0]

    class Time:
        @staticmethod
        def ticks_ms():
            return now[0] & 0x3FFFFFFF  # as on a 32-bit board

        @staticmethod
        def ticks_diff(a, b):
            return ((a - b + 0x20000000) & 0x3FFFFFFF) - 0x20000000

        @staticmethod
        def ticks_add(a, b):
            if not -0x20000000 <= b < 0x20000000:
                raise OverflowError(b)
            return (a + b) & 0x3FFFFFFF

    class Asyncio:
        @staticmethod
        async def sleep_ms(pause):
            waited.append(pause)
            now[0] += pause

    real = sampling.time, sampling.asyncio
    sampling.time, sampling.asyncio = Time, Asyncio
    try:
        assert asyncio.run(sampling._sleep(604800000)) == 604800000
    finally:
        sampling.time, sampling.asyncio = real
    assert now[0] == 604800000
    assert max(waited) == 3600000


def test_missed_slots_are_skipped():  # case D6
    assert sampling.next_slot_ms(1000, 0) == 1000
    assert sampling.next_slot_ms(1000, 1500) == 500
    assert sampling.next_slot_ms(1000, 2000) == 1000
    assert sampling.next_slot_ms(1000, 3001) == 999


class Board:
    told = None

    def now(self):
        return None

    def set_time(self, unix):
        self.told = unix


def test_the_gateways_time_is_counted_on_across_a_wrap_of_the_ticks():  # case D18
    ticks = [0x3FFFFF00]
    board = Board()

    def diff(a, b):
        return ((a - b + 0x20000000) & 0x3FFFFFFF) - 0x20000000

    clock = DeviceClock(board, lambda: ticks[0], diff)
    assert clock.now() is None
    clock.set(17)
    assert clock.now() is None
    clock.set(1800000000)
    assert board.told == clock.now() == 1800000000
    for _ in range(100):
        ticks[0] = (ticks[0] + 86400000) & 0x3FFFFFFF
        clock.uptime_s()
    assert clock.now() == 1800000000 + 100 * 86400
    assert clock.is_old(3600)


def taken(queue):
    found = []
    while True:
        record = queue.take()
        if record is None:
            return found
        found.append((decode_body(record[0])[1], record[1]))


def fill(queue, numbers):
    for number in numbers:
        if queue.put(encode_record("readings/t", b"%d" % number + b"." * 50, 2000000000, 7, 9)):
            queue.flush()


def clean():
    try:
        for name in os.listdir(DIRECTORY):
            os.remove(DIRECTORY + "/" + name)
    except OSError:
        pass


def test_a_queue_keeps_its_order_and_forgets_what_was_delivered():
    clean()
    queue = FlashQueue(65536, DIRECTORY)
    fill(queue, range(500))
    found = taken(queue)
    assert [payload.split(b".")[0] for payload, _ in found] == [b"%d" % n for n in range(500)]
    assert queue.is_empty() and queue.dropped == 0
    again = FlashQueue(65536, DIRECTORY)
    assert [p for p, _ in taken(again)] == [p for p, number in found if number is not None]
    for _, number in found:
        if number is not None:
            queue.done(number)
    assert os.listdir(DIRECTORY) == []
    clean()


def test_a_full_queue_drops_the_oldest_and_counts_them():
    clean()
    queue = FlashQueue(32768, DIRECTORY)
    fill(queue, range(2000))
    queue.flush()
    sizes = [os.stat(DIRECTORY + "/" + name)[6] for name in os.listdir(DIRECTORY)]
    assert sum(sizes) <= 32768
    found = [int(payload.split(b".")[0]) for payload, _ in taken(queue)]
    assert found == list(range(2000 - len(found), 2000))
    assert queue.dropped == 2000 - len(found)
    clean()


def test_a_torn_record_ends_its_segment_only():
    clean()
    queue = FlashQueue(65536, DIRECTORY)
    fill(queue, range(10))
    queue.flush()
    path = DIRECTORY + "/" + os.listdir(DIRECTORY)[0]
    with open(path, "rb") as file:
        content = file.read()
    with open(path, "wb") as file:
        file.write(content[:-30])
    queue = FlashQueue(65536, DIRECTORY)
    fill(queue, range(20, 25))
    found = [int(payload.split(b".")[0]) for payload, _ in taken(queue)]
    assert found == list(range(9)) + list(range(20, 25))
    clean()


def test_a_record_longer_than_a_reading_ends_its_segment_too():
    clean()
    try:
        os.mkdir(DIRECTORY)
    except OSError:  # an earlier test has made it
        pass
    with open(DIRECTORY + "/00000001", "wb") as file:  # a board may not have the memory for it
        file.write(encode_record("readings/t", b"x" * 12000, 1, 1, 1))
    queue = FlashQueue(131072, DIRECTORY)
    fill(queue, range(3))
    assert [int(payload.split(b".")[0]) for payload, _ in taken(queue)] == [0, 1, 2]
    clean()


def test_a_flash_that_takes_nothing_costs_the_oldest_only():
    queue = FlashQueue(65536, "/proc/no-such-place")
    fill(queue, range(500))
    found = [int(payload.split(b".")[0]) for payload, _ in taken(queue)]
    assert found == list(range(500 - len(found), 500)) and len(found) > 20
    assert queue.dropped == 500 - len(found) and queue.errors


def test_failures_of_many_kinds_are_bounded():  # case D15
    failures = Failures()
    for number in range(100):
        failures.note("n%d" % number, ValueError("x" * 3000))
    assert failures.count == 100
    assert len(failures._kinds) == 17
