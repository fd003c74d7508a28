"""The queue in flash on a real LittleFS: how long a call can stop the board. On MicroPython only.

The block device counts erased sectors and programmed bytes, and the times are those of the Pico's
flash (W25Q16JV data sheet, 9.6): a sector of 4 KiB takes 45 ms to erase, 400 ms at most; a page of
256 bytes 0.4 ms to program, 3 ms at most.
"""

import os

import vfs

from device.flash_queue import FlashQueue, encode_record

SECTOR = 4096
SECTORS = 212  # of a Pico W
LIMIT = 131072  # the default of queue_bytes
ALLOWED_MS = 2000


class CountingFlash:
    """A RAM block device that counts what costs time."""

    def __init__(self):
        self.content = bytearray(b"\xff" * SECTOR * SECTORS)
        self.erased = self.programmed = 0

    def readblocks(self, number, buffer, offset=0):
        start = number * SECTOR + offset
        buffer[:] = self.content[start : start + len(buffer)]

    def writeblocks(self, number, buffer, offset=0):
        start = number * SECTOR + offset
        self.content[start : start + len(buffer)] = buffer
        self.programmed += len(buffer)

    def ioctl(self, op, argument):
        if op == 4:
            return SECTORS
        if op == 5:
            return SECTOR
        if op == 6:
            self.erased += 1
        return 0

    def take_ms(self, erase_ms, page_ms):
        """Return, once, the time that the last calls cost."""
        cost = self.erased * erase_ms + self.programmed / 256 * page_ms
        self.erased = self.programmed = 0
        return cost


def reading(number):
    payload = b'{"value": 21.5, "seq": %d, "unit": "C", "at": 1790000000}' % number
    return encode_record("readings/temperature", payload, 1790000000, number, 1)


def in_flash(test):
    def run():
        flash = CountingFlash()
        vfs.VfsLfs2.mkfs(flash)
        vfs.mount(vfs.VfsLfs2(flash), "/board")
        try:
            test(flash)
        finally:
            vfs.umount("/board")

    return run


@in_flash
def test_no_call_stops_the_board_for_two_seconds(flash):  # case L22
    queue = FlashQueue(LIMIT, "/board/queue")
    costs = []
    taken = []
    for number in range(2200):  # more than fit: the oldest segments make room
        if queue.put(reading(number)):
            flash.take_ms(0, 0)
            queue.flush()
            erased, programmed = flash.erased, flash.programmed
            costs.append((flash.take_ms(45, 0.4), erased, programmed))
    assert queue.dropped > 500
    assert len(os.listdir("/board/queue")) <= 9
    while True:
        flash.take_ms(0, 0)
        record = queue.take()
        if record is None:
            break
        if record[1] is not None:
            queue.done(record[1])
        taken.append(flash.take_ms(45, 0.4))
    worst = max(costs)
    print("flush: %d ms at most, %d sectors, %d bytes; take: %d ms" % (worst + (max(taken),)))
    assert worst[0] < ALLOWED_MS / 4
    assert max(taken) < ALLOWED_MS / 4
    # with the longest times of the data sheet
    assert max(c[1] * 400 + c[2] / 256 * 3 for c in costs) < ALLOWED_MS


@in_flash
def test_nothing_is_lost_within_the_stated_size(flash):
    queue = FlashQueue(LIMIT, "/board/queue")
    count = 0
    while queue.dropped == 0:
        if queue.put(reading(count)):
            queue.flush()
        count += 1
    kept = count - queue.dropped
    assert (count - 1) * len(reading(1000)) > LIMIT * 7 / 8 - 2048  # a segment of eight makes room
    print("%d readings before the first is lost" % (count - 1), kept)
