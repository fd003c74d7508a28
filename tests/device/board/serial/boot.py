"""Makes the unix port look like a board on a serial line; runs before its REPL.

The file system is a LittleFS in a file, mounted at /: otherwise :/lib would be the host's folder.
"""

import os
import sys

import vfs


class FileBlocks:
    """A file as a block device: flash with 4096 bytes a block."""

    SIZE = 4096

    def __init__(self, path, blocks):
        self.blocks = blocks
        try:
            self.file = open(path, "r+b")
        except OSError:
            with open(path, "wb") as file:
                for _ in range(blocks):
                    file.write(b"\xff" * self.SIZE)
            self.file = open(path, "r+b")

    def readblocks(self, number, buffer, offset=0):
        self.file.seek(number * self.SIZE + offset)
        self.file.readinto(buffer)

    def writeblocks(self, number, buffer, offset=0):
        self.file.seek(number * self.SIZE + offset)
        self.file.write(buffer)

    def ioctl(self, op, argument):
        if op == 3:
            self.file.flush()
        if op == 4:
            return self.blocks
        if op == 5:
            return self.SIZE
        if op == 6:
            self.writeblocks(argument, b"\xff" * self.SIZE)
        return 0


def mount():
    flash = FileBlocks(os.getenv("SERIAL_FLASH"), 256)
    try:
        files = vfs.VfsLfs2(flash)
    except OSError:
        vfs.VfsLfs2.mkfs(flash)
        files = vfs.VfsLfs2(flash)
    vfs.umount("/")
    vfs.mount(files, "/")
    os.chdir("/")
    sys.path[:] = ["", ".frozen", "/lib"]


def add_reset():
    """Give the module machine what mpremote calls; the bridge starts an interpreter that ends."""
    import machine

    class Machine:
        pass

    extended = Machine()
    for name in dir(machine):
        setattr(extended, name, getattr(machine, name))
    extended.reset = lambda: sys.exit(3)
    sys.modules["machine"] = extended


def run(name):
    try:
        with open(name) as file:
            program = file.read()
    except OSError:
        return
    try:
        exec(program, {"__name__": "__main__"})
    except Exception as exc:
        sys.print_exception(exc)


mount()
add_reset()
run("boot.py")
if os.getenv("SERIAL_MAIN") == "1":
    run("main.py")
del FileBlocks, add_reset, mount, run
