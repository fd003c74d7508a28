"""Gives containers uids of their own, and the files that go with them; every function blocks.

No list is kept: a container's uid is the owner of its data folder. The search for a free uid begins
at a place of the range that the folder of all containers decides: two gateways of one machine
hardly ever give the same uid, for which the kernel counts processes together.
"""

import contextlib
import itertools
import os
import stat
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

from gateway.storage.trees import TreeDepthError, walk_tree

DATA = "data"
_OPEN_FOLDER, _OPEN_FILE = 0o755, 0o444
_CONNECTABLE = 0o666
_assigning = threading.Lock()


def candidates(uids: range, folder: Path) -> Iterator[int]:
    """Return the uids in the order in which the containers of a folder get them."""
    first = zlib.crc32(bytes(folder.resolve())) % len(uids)
    return itertools.chain(uids[first:], uids[:first])


def assign_uid(directory: Path, uids: range) -> int:
    """Return the uid of a container, whose data folder it owns from now on.

    Raises:
        OSError: all uids are in use.
    """
    with _assigning:
        owner = (directory / DATA).stat().st_uid
        taken = set(_owners(directory))
        if owner in uids and owner not in taken:
            return owner
        free = next((uid for uid in candidates(uids, directory.parent) if uid not in taken), None)
        if free is None:
            raise OSError(f"no uid is free from {uids.start} to {uids.stop - 1}")
        give_folder(directory / DATA, free)
        return free


def _owners(directory: Path) -> Iterator[int]:
    """Yield the uids of all containers beside that of a folder."""
    with os.scandir(directory.parent) as entries:
        for entry in entries:
            if entry.name != directory.name:
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    # speed: a launch looks at all containers
                    yield os.stat(f"{entry.path}/{DATA}").st_uid  # noqa: PTH116


def give_folder(folder: Path, uid: int) -> None:
    """Make a uid the owner of a folder and all in it; the folder itself last."""
    try:
        for one in walk_tree(folder):
            os.chown(one.name, uid, uid, dir_fd=one.folder, follow_symlinks=False)
    except TreeDepthError as exc:
        raise OSError(f"{folder}: {exc}") from exc
    os.lchown(folder, uid, uid)


def open_code(code: Path) -> None:
    """Let every uid read an image's files; the folders above keep others out."""
    tops = [code, *code.iterdir()]
    if all(one.stat().st_mode & stat.S_IROTH for one in tops):  # done before; the root comes last
        return
    for parent, folders, files in os.walk(code, topdown=False):
        for name in files:
            Path(parent, name).chmod(_OPEN_FILE)
        for name in folders:
            Path(parent, name).chmod(_OPEN_FOLDER)
    code.chmod(_OPEN_FOLDER)


def open_socket(path: Path) -> None:
    """Let every uid connect to a socket, if the folder around it keeps others out."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_IMODE(path.parent.stat().st_mode) & 0o077:
            path.chmod(_CONNECTABLE)
