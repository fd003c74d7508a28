"""Power cuts while credentials are written, on a real LittleFS. Runs on MicroPython only.

LittleFS shows a file's new content at the next sync or close, so a short file written in one go
survives without the rename as well; a file that is flushed half-way does not, and fails here.
"""

import vfs

from device import flash, stored

BLOCK = 4096
BLOCKS = 32
PAIRS = {"old": ("old key", "old certificate"), "new": ("new key", "new certificate")}
OLD = ("dev-000000000000", "dev-000000000000", "old" * 20, "devices/dev-000000000000")
NEW = ("dev-111111111111", "dev-111111111111", "new" * 20, "devices/dev-111111111111")


class FailingFlash:
    """A RAM block device whose power goes after so many writes; the last one is torn."""

    def __init__(self):
        self.content = bytearray(b"\xff" * BLOCK * BLOCKS)
        self.left = None

    def readblocks(self, number, buffer, offset=0):
        start = number * BLOCK + offset
        buffer[:] = self.content[start : start + len(buffer)]

    def writeblocks(self, number, buffer, offset=0):
        self.program(number * BLOCK + offset, buffer)

    def program(self, start, buffer):
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                if self.left == -1:
                    half = len(buffer) // 2
                    self.content[start : start + half] = buffer[:half]
                raise OSError(5)
        self.content[start : start + len(buffer)] = buffer

    def ioctl(self, op, argument):
        if op == 4:
            return BLOCKS
        if op == 5:
            return BLOCK
        if op == 6:
            self.program(argument * BLOCK, b"\xff" * BLOCK)
        return 0


def save(device, credentials, writes):
    """Save with power for so many writes; return whether it went through."""
    device.left = writes
    vfs.mount(vfs.VfsLfs2(device), "/board")
    try:
        pair = PAIRS[credentials[2][:3]]
        stored.save_credentials(credentials, pair, "/board/credentials.json")
        return True
    except OSError:
        return False
    finally:
        try:
            vfs.umount("/board")
        except OSError:
            pass
        device.left = None


def load(device):
    vfs.mount(vfs.VfsLfs2(device), "/board")
    try:
        found = stored.load_credentials("/board/credentials.json")
        pair = stored.load_pair("/board/credentials.json")
        # a key of one time would not fit the certificate of another
        assert pair == (PAIRS[found[2][:3]] if found else (None, None)), pair
        return found
    finally:
        vfs.umount("/board")


def test_after_a_power_cut_the_old_or_the_new_credentials_are_there():
    device = FailingFlash()
    vfs.VfsLfs2.mkfs(device)
    assert save(device, OLD, None)
    before = bytes(device.content)
    seen = []
    for writes in range(400):
        device.content[:] = before
        done = save(device, NEW, writes)
        found = load(device)
        assert found in (OLD, NEW), (writes, found)
        seen.append(found)
        if done:
            break
    assert done and found == NEW
    assert seen.count(OLD) > 3


def test_a_spoiled_file_counts_as_none():
    device = FailingFlash()
    vfs.VfsLfs2.mkfs(device)
    path = "/board/credentials.json"
    for text in ("", "{", "[]", "7", "null", '{"device_id": 1}'):
        vfs.mount(vfs.VfsLfs2(device), "/board")
        flash.write_atomic(path, text)
        vfs.umount("/board")
        assert load(device) is None, text  # the board joins again


def test_what_is_not_there_is_none():
    device = FailingFlash()
    vfs.VfsLfs2.mkfs(device)
    assert load(device) is None
    assert stored.load_claim("absent") is None
    flash.remove("absent")
