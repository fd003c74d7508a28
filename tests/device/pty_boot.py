"""Makes the MicroPython interpreter look like a board; run before its REPL (tests/pty_board.py).

The flash is a file with LittleFS, mounted at /. What machine and network lack comes from here.
"""

import os
import sys

import vfs

_BLOCK = 4096


class FileFlash:
    """A block device in a file."""

    def __init__(self, path, blocks):
        try:
            self._file = open(path, "r+b")
        except OSError:
            with open(path, "wb") as file:
                for _ in range(blocks):
                    file.write(b"\xff" * _BLOCK)
            self._file = open(path, "r+b")
        self._blocks = blocks

    def readblocks(self, number, buffer, offset=0):
        self._file.seek(number * _BLOCK + offset)
        self._file.readinto(buffer)

    def writeblocks(self, number, buffer, offset=0):
        self._file.seek(number * _BLOCK + offset)
        self._file.write(buffer)

    def ioctl(self, request, argument):
        if request == 3:
            self._file.flush()
        elif request == 4:
            return self._blocks
        elif request == 5:
            return _BLOCK
        elif request == 6:
            self._file.seek(argument * _BLOCK)
            self._file.write(b"\xff" * _BLOCK)
        return 0


def _start():
    flash = FileFlash(os.getenv("BOARD_FLASH"), int(os.getenv("BOARD_FLASH_KIB")) * 1024 // _BLOCK)
    try:
        system = vfs.VfsLfs2(flash)
    except OSError:
        vfs.VfsLfs2.mkfs(flash)
        system = vfs.VfsLfs2(flash)
    vfs.umount("/")
    vfs.mount(system, "/")
    os.chdir("/")
    sys.path[:] = ["", ".frozen", "/lib"]

    def reset():
        flash.ioctl(3, 0)
        sys.exit(3)

    import machine

    class Machine:
        """What the interpreter's module has, and a reset."""

    extended = Machine()
    for name in dir(machine):
        setattr(extended, name, getattr(machine, name))
    extended.reset = reset
    sys.modules["machine"] = extended


_start()
del _start, FileFlash
for _name in ("boot.py", "main.py") if os.getenv("BOARD_RUNS_MAIN") == "1" else ("boot.py",):
    try:
        os.stat(_name)
    except OSError:
        continue
    try:
        exec(open(_name).read(), globals())
    except Exception as _exc:
        sys.print_exception(_exc)
