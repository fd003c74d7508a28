"""Allows one `hecate up` per state folder, and keeps its log there."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

from gateway.cli.errors import CliError
from gateway.logs import FORMAT

LOG_BYTES = 1024 * 1024


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


@contextmanager
def hold_folders(state: Path, logs: Path) -> Iterator[None]:
    """Make the folders, hold them, and keep the log of this process off the screen."""
    try:
        for folder in (state, logs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        why = (exc.strerror or str(exc)).lower()
        raise CliError(
            f"cannot use state folder {exc.filename}: {why}; give another with --state"
        ) from exc
    with hold(state / "up.lock"):
        file = RotatingFileHandler(logs / "up.log", maxBytes=LOG_BYTES, backupCount=1)
        file.setFormatter(logging.Formatter(FORMAT))
        logging.getLogger().addHandler(file)
        yield
