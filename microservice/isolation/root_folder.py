"""Builds the root file system of a container, in a mount namespace of its own.

It is an empty tmpfs with bind mounts at the paths that they have outside, so that every path in
the launch means the same on both sides. Nothing else of the machine is there. A launch waits for
it.
"""

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from microservice.isolation import kernel
from microservice.isolation.view import (
    DEVICES,
    ETC,
    SHARED_MEMORY,
    SHARED_MEMORY_BYTES,
    SYSTEM,
    FileView,
    needs_mask,
)

_READ_ONLY = kernel.ATTR_RDONLY | kernel.ATTR_NOSUID | kernel.ATTR_NODEV
_WRITABLE = kernel.ATTR_NOSUID | kernel.ATTR_NODEV | kernel.ATTR_NOEXEC
_DEVICE = kernel.ATTR_NOSUID | kernel.ATTR_NOEXEC
_NO_PROGRAMS = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC


def begin_root(base: str, read_only: Iterable[str]) -> None:
    """Build the part that all containers have; OSError when that is not possible.

    Args:
        base: an empty folder; the new root is built on it, in a new mount namespace.
        read_only: the folders of the interpreter and its libraries.
    """
    kernel.unshare(kernel.CLONE_NEWNS)
    kernel.mount("", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("tmpfs", base, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=755,size=1m")
    try:
        for path in (*SYSTEM, *ETC, *read_only):
            _bind(base, path, _READ_ONLY)
        for path in DEVICES:
            _bind(base, path, _DEVICE)
        _mount_kernel_folders(base)
    except OSError:
        kernel.unmount(base)
        raise


def rehearse_root(base: str) -> None:
    """Bind a path that is there already once more, and take it away: as finish_root() does."""
    _bind(base, os.devnull, _DEVICE)
    kernel.unmount(base + os.devnull)


def finish_root(base: str, view: FileView) -> None:
    """Add the container's own paths, and make the folder the root of all processes in it."""
    if needs_mask(view) and Path(base + view.hidden).is_dir():
        kernel.mount("tmpfs", base + view.hidden, "tmpfs", _NO_PROGRAMS, "mode=755,size=1m")
    _bind(base, view.code, _READ_ONLY)
    for path in (*view.writable, *view.sockets):
        _bind(base, path, _WRITABLE)
    for path in view.devices:  # at the same path, also if it is a link: /dev/serial/by-id/…
        _bind(base, path, _DEVICE, source=str(Path(path).resolve()))
    with contextlib.suppress(FileExistsError):  # a path of the view lies below /tmp
        Path(base, "tmp").symlink_to(view.writable[-1])
    kernel.set_mount_attributes(base, _READ_ONLY, below=False)
    kernel.change_root(base)


def _mount_kernel_folders(base: str) -> None:
    proc = Path(base, "proc")
    proc.mkdir()
    kernel.mount("proc", str(proc), "proc", _NO_PROGRAMS)
    shared = Path(base + SHARED_MEMORY)
    shared.mkdir(parents=True)
    size = f"mode=1777,size={SHARED_MEMORY_BYTES}"
    kernel.mount("tmpfs", str(shared), "tmpfs", _NO_PROGRAMS, size)
    for name, target in (
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ):
        Path(base, "dev", name).symlink_to(target)


def _bind(base: str, path: str, attributes: int, source: str = "") -> None:
    """Bind a path of the old root to the same path of the new one; nothing if there is none."""
    source, target = source or path, base + path
    try:
        mode = os.lstat(source).st_mode
    except OSError:
        return
    _make_parents(target)
    if stat.S_ISLNK(mode):  # /lib -> usr/lib, /etc/localtime -> /usr/share/zoneinfo/...
        with contextlib.suppress(FileExistsError):
            os.symlink(os.readlink(source), target)
        return
    with contextlib.suppress(FileExistsError):
        if stat.S_ISDIR(mode):
            os.mkdir(target)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    kernel.mount(source, target, "", kernel.MS_BIND | kernel.MS_REC)
    kernel.set_mount_attributes(target, attributes)


def _make_parents(target: str) -> None:
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        mask = os.umask(0o022)
        try:
            os.makedirs(folder, exist_ok=True)
        finally:
            os.umask(mask)
