"""Allows one `hecate up` per state folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.cli.errors import CliError


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold a lock file for as long as the block lasts; CliError when another process does."""
    # not close-on-exec would hand the lock to the children: os.open sets it (PEP 446)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
            raise CliError(
                f"cannot start: another hecate up (process {holder or 'unknown'}) uses "
                f"{path.parent}; stop it, or give another folder with --state"
            ) from exc
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)
