"""Stores the broker's records durably; its methods run on the broker's loop."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from broker.journal.disk import Disk, RealDisk
from broker.journal.errors import JournalError
from broker.journal.log import SegmentLog
from broker.journal.open_report import OpenReport
from broker.journal.record_codec import encode_records
from broker.journal.records import Record, Series
from broker.journal.state import JournalState
from broker.journal.writer import CommitGroup, Done, JournalLimits, JournalWriter

logger = logging.getLogger(__name__)

Durability = Literal["synced", "os", "memory"]

DAMAGES_LOGGED = 20
EAGER_BYTES = 65_536  # of records that nobody waits for: so much is written at once


@dataclass(frozen=True, slots=True)
class JournalStatus:
    """The size of the journal, and the counts of what it refused since the start."""

    queued_bytes: int
    log_bytes: int
    live_bytes: int
    written_bytes: int
    segments: int
    commits: int
    refused: int
    is_full: bool
    is_behind: bool = False


class Journal:
    """Keeps records; all methods are called on the loop, open() before it need run.

    Call open(), put its image into the broker (which may append), call start(): from then on the
    image belongs to the journal. "synced" survives a power cut, "os" the death of the process,
    "memory" nothing.
    """

    def __init__(
        self,
        directory: Path,
        durability: Durability = "synced",
        *,
        disk: Disk | None = None,
        limits: JournalLimits | None = None,
    ) -> None:
        self._directory = directory
        self._in_memory = durability == "memory"
        self._disk: Disk = RealDisk() if disk is None else disk
        self._limits = JournalLimits() if limits is None else limits
        self._behind_bytes = min(self._limits.behind_bytes, self._limits.queued_bytes // 2)
        self._group_bytes = min(self._limits.group_bytes, self._limits.segment_bytes // 8)
        synced = durability == "synced"
        self._log = SegmentLog(self._disk, directory, self._limits.segment_bytes, synced=synced)
        self._image = JournalState()
        self._lock = -1
        self._pending: list[CommitGroup] = []
        self._pending_bytes = self._queued_bytes = self._refused = 0
        self._is_behind = False
        self._handing_over: asyncio.Handle | None = None
        self._is_urgent = False
        self._writer: JournalWriter | None = None
        self._loop: asyncio.AbstractEventLoop
        self._ended: asyncio.Future[None]

    def open(self) -> tuple[JournalState, OpenReport]:
        """Read the directory, damaged or not; JournalError if it cannot be used."""
        if self._in_memory:
            return self._image, OpenReport()
        try:
            self._lock = self._disk.lock(self._directory)
        except BlockingIOError as exc:
            raise self._refuse("another process keeps its data there") from exc
        except OSError as exc:
            raise self._refuse(exc.strerror) from exc
        try:
            report = self._log.read(self._image)
        except (OSError, JournalError) as exc:
            self._disk.close(self._lock)
            self._lock = -1
            raise self._refuse(getattr(exc, "strerror", None) or str(exc)) from exc
        _log_report(self._directory, self._image, report)
        return self._image, report

    def _refuse(self, why: str | None) -> JournalError:
        return JournalError(f"cannot keep data in {self._directory}: {why}")

    def start(self) -> None:
        """Take the image over and accept records; call it on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._image.bodies = None
        if not self._in_memory:
            self._writer = JournalWriter(
                self._log, self._image, self._limits, self._post, self._post_end
            )
            self._writer.start()
            self._hand_over()

    def append(
        self, records: Sequence[Record | Series], done: Done | None = None, *, must: bool = False
    ) -> None:
        """Store records, all or none of them.

        done is called later, on the loop: True once they are safe, False when they are not kept.
        Without done, or with must, they are tried until they are written, for what was removed
        must not come back; then False means that nothing can be written any more.
        """
        must = must or done is None
        if self._in_memory:
            if done is not None:
                self._loop.call_soon(done, True)
            return
        writer = self._writer
        if writer is None and self._lock < 0:
            raise JournalError("cannot append to the journal: it is not open")
        body = encode_records(records)
        size = len(body)
        # one message that is larger than what is left is taken, as long as the rest keeps up
        queued = self._queued_bytes
        is_over = queued >= self._behind_bytes and queued + size > self._limits.queued_bytes
        if (writer is not None and writer.has_ended) or (is_over and not must):
            self._refused += 1
            if done is not None:
                self._loop.call_soon(done, False)
            return
        self._queued_bytes += size
        self._is_behind |= self._queued_bytes >= self._behind_bytes
        self._pending_bytes += size
        self._add(body, records, done, must=must)
        if writer is not None:  # else start() hands it over
            self._plan(urgent=done is not None or self._pending_bytes >= EAGER_BYTES)

    def _add(
        self, body: bytes, records: Sequence[Record | Series], done: Done | None, *, must: bool
    ) -> None:
        """Append to the last group if that is small and as important, else begin one."""
        last = self._pending[-1] if self._pending else None
        if last is None or last.must != must or len(last.body) + len(body) > self._group_bytes:
            last = CommitGroup(b"", [], [], must)
            self._pending.append(last)
        last.body += body
        last.records += records
        if done is not None:
            last.dones.append(done)

    @property
    def is_behind(self) -> bool:
        """True while so much waits to be committed that senders should pause."""
        return self._is_behind

    async def close(self) -> None:
        """Commit what was appended and close the files."""
        if self._writer is not None:
            self._hand_over()
            self._writer.close()
            await self._ended
            self._writer = None
        if self._lock >= 0:
            self._disk.close(self._lock)
            self._lock = -1

    def commit(self) -> bool:
        """Commit now the records that a caller waits for; return whether there are any."""
        is_awaited = self._is_urgent and self._handing_over is not None
        if is_awaited:
            self._hand_over()
        return is_awaited

    def status(self) -> JournalStatus:
        """Return counts; those of the writer may be one commit old."""
        writer = self._writer
        return JournalStatus(
            self._queued_bytes,
            self._log.size_bytes,
            self._image.live_bytes,
            self._log.written_bytes,
            self._log.segments,
            writer.commits if writer is not None else 0,
            self._refused,
            writer.is_full if writer is not None else False,
            self._is_behind,
        )

    def _plan(self, *, urgent: bool) -> None:
        """Hand over once for all records of a wake-up; after lazy_s if no caller waits."""
        if self._handing_over is not None:
            if self._is_urgent or not urgent:
                return
            self._handing_over.cancel()
        self._is_urgent = urgent
        if urgent:
            self._handing_over = self._loop.call_soon(self._hand_over)
        else:
            self._handing_over = self._loop.call_later(self._limits.lazy_s, self._hand_over)

    def _hand_over(self) -> None:
        if self._handing_over is not None:
            self._handing_over.cancel()
            self._handing_over = None
        if self._writer is not None and self._pending:
            groups, self._pending = self._pending, []
            self._pending_bytes = 0
            self._writer.submit(groups)

    def _post(self, dones: list[Done], ok: bool, size: int) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed without close()
            self._loop.call_soon_threadsafe(self._finish, dones, ok, size)

    def _post_end(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._finish_end)

    def _finish(self, dones: list[Done], ok: bool, size: int) -> None:
        self._queued_bytes -= size
        if self._queued_bytes <= self._behind_bytes // 2:
            self._is_behind = False
        if not ok:
            self._refused += len(dones)
        for index, done in enumerate(dones, 1):
            try:
                done(ok)
            except BaseException:  # a bug, let it rise; but the others have their answer
                self._loop.call_soon(self._finish, dones[index:], ok, 0)
                raise

    def _finish_end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)


def _log_report(directory: Path, image: JournalState, report: OpenReport) -> None:
    if not report.is_clean:
        logger.warning(
            "data in %s are damaged: at most %d bytes in %d places are lost, and %d sessions whose "
            "beginning was there; a backup of the folder may have them",
            directory, report.lost_bytes, len(report.damages), report.orphans,
        )  # fmt: skip
    for name, damage in report.damages[:DAMAGES_LOGGED]:
        logger.warning("journal %s is damaged at byte %d (%d bytes): %s",
                       name, damage.offset, damage.length, damage.problem)  # fmt: skip
    logger.info(
        "journal holds %d sessions, %d messages, %d of them retained; %d segments, "
        "%d damages, %d torn tails, %d sessions without a beginning",
        len(image.sessions), len(image.messages), len(image.retained), report.segments,
        len(report.damages), report.torn, report.orphans,
    )  # fmt: skip
