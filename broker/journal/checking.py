"""Reads a journal without starting or changing it, and reports its contents and its damages."""

import errno
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from broker.journal import manifest
from broker.journal.disk import RealDisk
from broker.journal.errors import JournalError
from broker.journal.log import SegmentLog
from broker.journal.open_report import OpenReport
from broker.journal.segments import parse_name
from broker.journal.state import JournalState
from broker.journal.writer import JournalLimits


@dataclass(frozen=True, slots=True)
class Findings:
    """The contents and the damages of a journal."""

    is_in_use: bool  # a record that is being written may look torn
    sessions: int
    messages: int
    retained: int
    wills: int
    log_bytes: int
    report: OpenReport


class ReadOnlyDisk(RealDisk):
    """Lets nothing be changed."""

    def create(self, path: Path, size: int) -> int:  # noqa: ARG002
        """Refuse."""
        _refuse()

    def shorten(self, path: Path, size: int) -> None:  # noqa: ARG002
        """Refuse."""
        _refuse()

    def rename(self, path: Path, new: Path) -> None:  # noqa: ARG002
        """Refuse."""
        _refuse()

    def open(self, path: Path) -> int:  # noqa: ARG002
        """Refuse."""
        _refuse()

    def remove(self, path: Path) -> None:  # noqa: ARG002
        """Refuse."""
        _refuse()


def check_journal(directory: Path) -> Findings:
    """Read a folder as a start would; JournalError when that is not possible."""
    disk, image = ReadOnlyDisk(), JournalState()
    image.bodies = None  # nobody asks for them, and they may be large
    log = SegmentLog(disk, directory, JournalLimits().segment_bytes, synced=False)
    try:
        names = disk.list(directory)
        if manifest.NAME not in names and not any(map(parse_name, names)):
            raise JournalError(f"cannot check {directory}: no broker keeps its data there")
        report = log.read(image)
        is_in_use = _is_locked(directory / "lock")
    except OSError as exc:
        raise JournalError(f"cannot check {directory}: {exc.strerror}") from exc
    return Findings(
        is_in_use,
        sum(session.expiry_s > 0 for session in image.sessions.values()),
        len(image.messages),
        len(image.retained),
        sum(session.will is not None for session in image.sessions.values()),
        log.size_bytes,
        report,
    )


def _is_locked(path: Path) -> bool:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _refuse() -> NoReturn:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))
