"""Calls the kernel for what Python 3.11 has no function: namespaces, mounts, capabilities."""

import contextlib
import ctypes
import fcntl
import os
import re
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

# linux/sched.h
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# linux/prctl.h
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_SECCOMP_MODE_FILTER = 2

# linux/mount.h
MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = 4096, 8192, 16384, 1 << 18
MNT_DETACH = 2
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV, ATTR_NOEXEC = 1, 2, 4, 8
_AT_RECURSIVE = 0x8000
_AT_FDCWD = -100

# numbers that all architectures share but pivot_root: the calls are younger than the split
_NR_OPENAT2, _NR_MOUNT_SETATTR = 437, 442
_RESOLVE_IN_ROOT = 0x10  # linux/openat2.h
_NR_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "armv7l": 218, "armv6l": 218}

CAP_KILL = 5  # linux/capability.h
_CAPABILITY_VERSION_3 = 0x20080522
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, *arguments: int) -> int:
    """Change an attribute of this process."""
    # every argument is an unsigned long: a plain int would leave the upper half undefined
    values = [ctypes.c_ulong(one) for one in (*arguments, 0, 0, 0, 0)[:4]]
    return _check(_libc.prctl(option, *values), "prctl")


def version_of(release: str) -> tuple[int, int]:
    """Return the version in a kernel's release, such as 6.1.0-rpi7; (0, 0) when there is none."""
    found = re.match(r"(\d+)\.(\d+)", release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def set_process_name(name: str) -> None:
    """Set the name that ps and top show, of at most 15 bytes."""
    _check(_libc.prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0), "prctl")


def set_seccomp_filter(program_address: int) -> None:
    """Install a filter of system calls; it holds for the calling thread and all that it starts."""
    prctl(PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program_address)


def unshare(flags: int) -> None:
    """Leave the namespaces in flags for new ones."""
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    """Enter the namespace of a file descriptor."""
    _check(_libc.setns(fd, kind), "setns")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """Attach a file system, or change the way in which one is attached."""
    texts = [one.encode() if one else None for one in (source, target, kind)]
    done = _libc.mount(*texts, ctypes.c_ulong(flags), data.encode() if data else None)
    _check(done, f"mount {target}")


def set_mount_attributes(target: str, attributes: int, *, below: bool = True) -> None:
    """Set attributes of a mount, and of all mounts below it (Linux 5.12)."""
    packed = struct.pack("=QQQQ", attributes, 0, 0, 0)
    flags = _AT_RECURSIVE if below else 0
    done = _libc.syscall(_NR_MOUNT_SETATTR, _AT_FDCWD, target.encode(), flags, packed, len(packed))
    _check(done, f"mount_setattr {target}")


@contextlib.contextmanager
def open_root(root: str) -> Iterator[Callable[[str], int]]:
    """Yield what opens absolute paths, without access to their content, as if in another root.

    Links on the way lead to nothing outside of that root (Linux 5.6).
    """
    flags = os.O_PATH | os.O_CLOEXEC
    if root == "/":
        yield lambda path: os.open(path, flags)
        return
    how = struct.pack("=QQQ", flags, 0, _RESOLVE_IN_ROOT)
    folder = os.open(root, flags)

    def open_path(path: str) -> int:
        done = _libc.syscall(_NR_OPENAT2, folder, path.encode(), how, len(how))
        return _check(done, f"openat2 {path}")

    try:
        os.close(open_path("/"))  # a kernel without the call must not look like one without files
        yield open_path
    finally:
        os.close(folder)


def change_root(new_root: str) -> None:
    """Make a mounted folder the root file system, and detach the old one."""
    os.chdir(new_root)
    number = _NR_PIVOT_ROOT.get(os.uname().machine)
    if number is not None and _libc.syscall(number, b".", b".") == 0:
        _check(_libc.umount2(b".", MNT_DETACH), "umount2 old root")
    else:  # the root is an initramfs, which pivot_root() refuses
        mount(".", "/", "", MS_MOVE)
        os.chroot(".")
    os.chdir("/")


def unmount(target: str) -> None:
    """Detach a mount."""
    _check(_libc.umount2(target.encode(), MNT_DETACH), f"umount2 {target}")


def drop_capabilities() -> None:
    """Empty all capability sets; they cannot be regained."""
    for number in range(64):
        try:
            prctl(PR_CAPBSET_DROP, number)
        except OSError:
            break  # the kernel knows no more; without CAP_SETPCAP, no_new_privs makes it harmless
    prctl(PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    _set_capabilities(0)


def keep_capability(number: int) -> None:
    """Keep one of the capabilities that the process has."""
    try:
        _set_capabilities(1 << number)
    except PermissionError:  # it does not have that one
        _set_capabilities(0)


def _set_capabilities(mask: int) -> None:
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    data = struct.pack("=6I", low, low, 0, high, high, 0)  # effective, permitted, inheritable
    _check(_libc.capset(header, data), "capset")


def bring_loopback_up() -> None:
    """Start the interface lo, so that a service can reach itself."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        (flags,) = struct.unpack_from("16xH", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


def enter_user_namespace() -> None:
    """Enter a new user namespace in which only this process's uid and gid exist."""
    uid, gid = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def syscall(number: int, *arguments: int | bytes | None) -> int:
    """Call a system call by its number."""
    values = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    return _check(_libc.syscall(ctypes.c_long(number), *values), f"system call {number}")


def _check(result: int, call: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
    return result
