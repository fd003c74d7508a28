"""Starts that are counted, floors for the clock, and dates of readings of earlier runs."""

import os

from device import boots, flash_queue, tls
from device.flash_queue import FlashQueue, decode_body, encode_record
from device.outbox import Outbox
from device.readings import Readings

DIRECTORY = "/tmp/hecate-test-starts-%d" % int.from_bytes(os.urandom(6), "little")
UTC_TIME = b"\x30\x1e\x17\x0d260301120000Z\x17\x0d360301120000Z"
FAR_TIME = b"\x30\x22\x18\x0f20510301120000Z\x18\x0f20610301120000Z"


class Board:
    """Starts by power or by a reset."""

    by_power = False

    def was_power_on(self):
        return self.by_power


def in_directory(test):
    def run():
        home = os.getcwd()
        os.mkdir(DIRECTORY)
        os.chdir(DIRECTORY)
        try:
            test()
        finally:
            for name in os.listdir("."):
                (os.remove if os.stat(name)[0] & 0x8000 else os.rmdir)(name)
            os.chdir(home)
            os.rmdir(DIRECTORY)

    return run


@in_directory
def test_resets_are_counted_and_power_cycles_are_not():
    board = Board()
    board.by_power = True
    assert boots.begin(board) == (1, 0)
    board.by_power = False
    assert [boots.begin(board) for _ in range(3)] == [(2, 1), (3, 2), (4, 3)]
    boots.forgive()
    assert boots.begin(board) == (5, 1)
    board.by_power = True
    assert boots.begin(board) == (6, 0)
    with open("boots", "w") as file:
        file.write("no number")
    assert boots.begin(board) == (1, 0)


@in_directory
def test_the_number_of_a_start_fits_into_a_record():
    with open("boots", "w") as file:
        file.write("65535 0")
    assert boots.begin(Board()) == (1, 1)


def test_the_floor_is_the_latest_moment_that_has_certainly_passed():  # case L20
    start = 1772366400  # 2026-03-01 12:00 UTC
    assert tls.start_of(b"\x17\x0djunk" + UTC_TIME) == start
    assert tls.start_of(FAR_TIME) == 2561284800  # 2051-03-01 12:00 UTC
    assert tls.start_of(b"") == tls.start_of(b"\x17\x0dnodigitshere") == 0
    assert tls.floor_of(0, UTC_TIME, None) > start + 7000000  # the build
    assert tls.floor_of(0, FAR_TIME, UTC_TIME) == 2561284800
    assert tls.floor_of(1900000000, UTC_TIME, None) == 1900000000


class Clock:
    """A clock that the gateway has told at 2 000 000 000, when the board had run for 100 s."""

    def now(self):
        return 2000000000

    def uptime_s(self):
        return 100


def dated(queue, run_number):
    found = []
    while True:
        record = queue.take()
        if record is None:
            return found
        payload = flash_queue.dated_body(record[0], Clock(), run_number, queue)[1]
        found.append(payload.decode())


@in_directory
def test_readings_of_earlier_runs_are_dated_before_this_one():  # case L21
    for run, uptimes in ((7, (10, 20, 50)), (8, (5, 30))):
        queue = FlashQueue(65536, "q")
        for uptime in uptimes:
            queue.put(encode_record("readings/t", b'{"value": 1}', None, uptime, run))
        queue.flush()
    queue = FlashQueue(65536, "q")
    queue.put(encode_record("readings/t", b'{"value": 1}', None, 60, 9))
    queue.put(encode_record("readings/t", b'{"value": 1, "at": 9}', 1, 60, 9))
    queue.flush()
    began = 2000000000 - 100
    ats = [began - 30 - 50 + 10, began - 30 - 50 + 20, began - 30, began - 30 + 5, began]
    expected = ['{"value": 1, "estimated": true, "at": %d}' % at for at in ats]
    expected += ['{"value": 1, "at": %d}' % (began + 60), '{"value": 1, "at": 9}']
    assert dated(queue, 9) == expected
    for name in os.listdir("q"):
        os.remove("q/" + name)


@in_directory
def test_a_run_of_long_ago_gets_no_date():
    queue = FlashQueue(65536, "q")
    queue.put(encode_record("readings/t", b'{"value": 1}', None, 5, 3))
    assert dated(queue, 900) == ['{"value": 1}']
    assert decode_body(encode_record("readings/t", b"{}", None, 5, 3)[6:])[2] is None


@in_directory
def test_segments_that_are_sent_together_are_removed_each_in_its_turn():
    for number in (1, 2):
        queue = FlashQueue(65536, "queue")
        queue.put(encode_record("readings/t", b'{"value": %d}' % number, 1, 5, 3))
        queue.flush()
    outbox = Outbox(64, 8192)
    readings = Readings(outbox, 65536, Clock(), lambda: None)
    readings.note_link(True)
    readings.refill()
    first, second = outbox.take_unsent(), outbox.take_unsent()
    assert sorted(os.listdir("queue")) == ["00000001", "00000002"]
    outbox.acknowledge(second.packet_id)
    assert os.listdir("queue") == ["00000001"]
    outbox.acknowledge(first.packet_id)
    assert os.listdir("queue") == []
    readings.refill()
    assert readings._queue is None
