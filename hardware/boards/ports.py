"""Finds serial ports, and says why one cannot be used: no right, or another program has it.

A port has no owner in the kernel: two programs that read it share its bytes at random. So the
programs that hold it are looked for in /proc. Of a pseudo terminal the program at its other end,
which stands for the board, does not count.
"""

import grp
import os
import pwd
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hardware.boards.errors import BoardError

PATTERNS = ("serial/by-id/*", "ttyUSB*", "ttyACM*")
PTY_MAJORS = range(136, 144)
DEV, PROC = Path("/dev"), Path("/proc")


@dataclass(frozen=True, slots=True)
class SerialPort:
    """A port: the path that was given, and the device that it led to then."""

    path: Path
    device: Path
    number: int  # major and minor

    def check(self) -> None:
        """Raise BoardError when the path leads to another device now, or to none."""
        now = open_port(self.path)
        if now.number != self.number:
            raise BoardError(
                f"cannot use {self.path}: it is {now.device} now, and was {self.device} before; "
                "boards were plugged in another order; nothing was written"
            )


@dataclass(frozen=True, slots=True)
class Holder:
    """A program that has a port open."""

    pid: int
    name: str


def find_ports(dev: Path = DEV) -> list[Path]:
    """Return the ports of boards: each device once, by the name that stays when there is one."""
    found: dict[str, Path] = {}
    for pattern in PATTERNS:
        for path in sorted(dev.glob(pattern)):
            found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def choose_port(given: str, dev: Path = DEV) -> Path:
    """Return the port that was given, or the only one there is; BoardError otherwise."""
    if given:
        return Path(given)
    ports = find_ports(dev)
    if not ports:
        raise BoardError(
            "cannot find a board: no serial port; plug it in with a cable that carries data, or "
            "give --port"
        )
    if len(ports) > 1:
        names = ", ".join(str(port) for port in ports)
        raise BoardError(f"cannot choose a board: there are several ports; give --port: {names}")
    return ports[0]


def find_stable_path(path: Path, dev: Path = DEV) -> Path:
    """Return the name of a port that stays when it is plugged in again, as it is plugged in now.

    Linux makes it of the maker, the kind and the serial number that a USB device tells.
    """
    device = os.path.realpath(path)
    for link in sorted(dev.glob(PATTERNS[0])):
        if os.path.realpath(link) == device:
            return link
    return path


def open_port(path: Path, proc: Path = PROC) -> SerialPort:
    """Return a port that can be used; BoardError names the missing right or the other program."""
    device = Path(os.path.realpath(path))
    try:
        stat = device.stat()
    except OSError as exc:
        why = "no such port" if isinstance(exc, FileNotFoundError) else exc.strerror
        raise BoardError(f"cannot use {path}: {why}; is the board plugged in?") from exc
    if not device.is_char_device():
        raise BoardError(f"cannot use {path}: it is no serial port")
    if not os.access(device, os.R_OK | os.W_OK):
        raise BoardError(f"cannot use {path}: {_why_closed(stat.st_gid)}")
    holders = list(find_holders(device, proc))
    if holders:
        names = ", ".join(f"{holder.name} (pid {holder.pid})" for holder in holders[:4])
        raise BoardError(f"cannot use {path}: {names} has it open; end that program first")
    return SerialPort(path, device, stat.st_rdev)


def find_holders(device: Path, proc: Path = PROC) -> Iterator[Holder]:
    """Yield the other programs that have a device open, as far as this user may see."""
    number = device.stat().st_rdev
    for folder in sorted(proc.glob("[0-9]*"), key=lambda each: int(each.name)):
        if int(folder.name) == os.getpid():
            continue
        is_open = any(target == device for _, target in _descriptors(folder))
        if is_open and not _is_other_end(folder, number):
            yield Holder(int(folder.name), _name(folder))


def _descriptors(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the numbers and targets of the descriptors of a process that this user may see."""
    try:
        links = list((folder / "fd").iterdir())
    except OSError:
        return  # it has ended, or is another user's
    for link in links:
        with suppress(OSError):
            yield link.name, link.readlink()


def _is_other_end(folder: Path, number: int) -> bool:
    """Return whether a program has the other end of a pseudo terminal."""
    if os.major(number) not in PTY_MAJORS:
        return False
    wanted = f"tty-index:\t{os.minor(number)}"
    ends = [descriptor for descriptor, target in _descriptors(folder) if target.name == "ptmx"]
    try:
        return any(wanted in (folder / "fdinfo" / end).read_text() for end in ends)
    except OSError:
        return False


def _name(folder: Path) -> str:
    try:
        words = (folder / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return "a program"
    names = [word.rpartition(b"/")[2] for word in words[:2]]
    if len(names) > 1 and names[0].startswith(b"python") and names[1]:
        names = names[1:]  # the script says more than its interpreter
    return names[0].decode(errors="replace") or "a program"


def _why_closed(gid: int) -> str:
    group, user = _group_name(gid), _user_name()
    if gid in os.getgroups():
        return "its group may not write it; see its mode with `ls -l`"
    try:
        members = grp.getgrgid(gid).gr_mem
    except KeyError:
        members = []
    if user in members:
        return f"this session is older than your membership in group {group}; log in again"
    return f"you are not in group {group}; run `sudo usermod -aG {group} {user}`, then log in again"


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
