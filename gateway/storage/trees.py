"""Walks and removes folders whose content a container has made; every function blocks.

A container may nest folders deeper than Python recurses or than a path may be long, and may replace
a folder by a link at any moment. So folders are opened one below the other, by descriptors that
follow no link, and nothing here calls itself.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

DEPTH_LIMIT = 128  # folders that are open at once
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OWNER_ALL = 0o700


class TreeDepthError(Exception):
    """A folder has more than DEPTH_LIMIT levels."""


class TreeEntry:
    """A file or folder of a tree, known by its name in an open folder."""

    __slots__ = ("folder", "name", "status")

    def __init__(self, folder: int, name: str, status: os.stat_result) -> None:
        self.folder, self.name, self.status = folder, name, status


def walk_tree(top: Path) -> Iterator[TreeEntry]:
    """Yield all that is below a folder, each folder before its content.

    An entry's folder is open until the next entry. Entries that vanish meanwhile, or may not be
    read, are left out.

    Raises:
        TreeDepthError: it is nested too deep.
    """
    levels: list[_Level] = []
    try:
        _enter(levels, top, None)
        while levels:
            level = levels[-1]
            entry = next(level.entries, None)
            if entry is None:
                levels.pop().close()
                continue
            with contextlib.suppress(OSError):
                found = TreeEntry(level.folder, entry.name, entry.stat(follow_symlinks=False))
                yield found
                if stat.S_ISDIR(found.status.st_mode):
                    if len(levels) >= DEPTH_LIMIT:
                        raise TreeDepthError(f"its folders are nested more than {DEPTH_LIMIT} deep")
                    _enter(levels, entry.name, level.folder)
    finally:
        for level in levels:
            level.close()


class _Level:
    """A folder that is open, and what is left of its entries."""

    def __init__(self, folder: int) -> None:
        self.folder, self.entries = folder, os.scandir(folder)

    def close(self) -> None:
        self.entries.close()
        os.close(self.folder)


def _enter(levels: list[_Level], name: str | Path, parent: int | None) -> None:
    with contextlib.suppress(OSError):
        folder = os.open(name, _FOLDER, dir_fd=parent)
        try:
            levels.append(_Level(folder))
        except OSError:
            os.close(folder)


class _Descent:
    """One folder that is being removed, and the folders inside that are left."""

    def __init__(self, name: str, folder: int) -> None:
        status = os.fstat(folder)
        self.name, self.inode = name, (status.st_dev, status.st_ino)
        self.inner = _remove_files(folder)


def remove_tree(top: Path) -> None:
    """Remove a folder with all that is in it, however deep; OSError when something stays.

    One folder is open at a time: the way up is "..", whose inode must be the one that it came from.
    """
    try:
        folder = _open_own(top, None)
    except FileNotFoundError:
        return
    except OSError:  # a file, or a link
        top.unlink(missing_ok=True)
        return
    try:
        levels = [_Descent("", folder)]
        while levels:
            if levels[-1].inner:
                name = levels[-1].inner.pop()
                folder = _replace(folder, _open_own(name, folder))
                levels.append(_Descent(name, folder))
                continue
            done = levels.pop()
            if levels:
                folder = _replace(folder, os.open("..", _FOLDER, dir_fd=folder))
                status = os.fstat(folder)
                if (status.st_dev, status.st_ino) != levels[-1].inode:
                    raise OSError(f"cannot remove {top}: a folder was moved meanwhile")
                os.rmdir(done.name, dir_fd=folder)
    finally:
        os.close(folder)
    top.rmdir()


def _replace(old: int, new: int) -> int:
    os.close(old)
    return new


def _remove_files(folder: int) -> list[str]:
    """Remove all but the folders in a folder; return their names."""
    folders = []
    for name in os.listdir(folder):
        if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            folders.append(name)
        else:
            os.unlink(name, dir_fd=folder)
    return folders


def _open_own(name: str | Path, folder: int | None) -> int:
    """Open a folder from which its owner may have locked itself out."""
    try:
        opened = os.open(name, _FOLDER, dir_fd=folder)
    except PermissionError:
        os.chmod(name, _OWNER_ALL, dir_fd=folder)
        opened = os.open(name, _FOLDER, dir_fd=folder)
    if os.fstat(opened).st_mode & _OWNER_ALL != _OWNER_ALL:
        os.fchmod(opened, _OWNER_ALL)
    return opened
