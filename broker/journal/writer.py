"""Commits records in a thread: writes all that have arrived as one batch, cleans in between."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from broker.journal.cleaning import SegmentCleaner, should_clean
from broker.journal.log import SegmentLog
from broker.journal.record_codec import encode_records
from broker.journal.records import Record, Series
from broker.journal.state import JournalState

logger = logging.getLogger(__name__)

Done = Callable[[bool], None]

CLEAN_STEP_BYTES = 65_536  # read per commit at least; about 2 ms of work between two commits
CLEAN_SHARE = 2  # bytes read, and at most written, for each byte that is appended


@dataclass(frozen=True, slots=True)
class JournalLimits:
    """The sizes of the journal in bytes, and its times in seconds."""

    segment_bytes: int = 4 * 1024 * 1024  # room is taken, given back and read in such pieces
    queued_bytes: int = 16 * 1024 * 1024  # not committed yet; beyond it callers are refused
    behind_bytes: int = 8 * 1024 * 1024  # of these, at which senders are held until half is left
    batch_bytes: int = 1024 * 1024  # one commit
    group_bytes: int = 4096  # one checksum: a damaged block of the disk costs about as much
    interval_s: float = 0.002  # between two commits: fewer writes of the same block
    lazy_s: float = 0.1  # records that nobody waits for may wait so long for others
    retry_s: float = 1.0  # between two attempts while the disk is full


@dataclass(slots=True)
class CommitGroup:
    """The records of some append() calls; those that must be kept are retried until written.

    All of it is there after a crash, or nothing.
    """

    body: bytes
    records: list[Record | Series]
    dones: list[Done]
    must: bool


class JournalWriter:
    """Owns log and image once it is started."""

    def __init__(
        self,
        log: SegmentLog,
        image: JournalState,
        limits: JournalLimits,
        finish: Callable[[list[Done], bool, int], None],
        end: Callable[[], None],
    ) -> None:
        self.commits = 0
        self.is_full = False
        self.has_ended = False
        self._log = log
        self._image = image
        self._limits = limits
        self._finish = finish  # called in the thread, with what was decided and how many bytes
        self._end = end
        self._inbox: deque[CommitGroup] = deque()
        self._owed: list[CommitGroup] = []  # the image has taken them, the disk has not
        self._cleaning: SegmentCleaner | None = None
        self._credit = log.size_bytes
        self._last_start = self._retry_at = 0.0
        self._closing = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, groups: Sequence[CommitGroup]) -> None:
        """Queue groups for the thread, which writes them in this order."""
        self._inbox.extend(groups)
        self._wake.set()

    def close(self) -> None:
        """Write the queued groups, then end; end() is called in the thread."""
        self._closing = True
        self._wake.set()

    def _run(self) -> None:
        try:
            while True:
                self._wait()
                is_last = self._closing  # read before the round: what comes later is not in it
                if not self._round() and is_last:
                    break
            self._log.close()
        except OSError as exc:
            logger.warning("cannot close the journal: %s", exc)
        except Exception:
            logger.exception("the journal has failed: nothing is stored any more")
        finally:
            self.has_ended = True
            self._refuse(list(self._inbox))
            self._end()

    def _wait(self) -> None:
        if self._closing or self._inbox:
            timeout_s: float | None = 0.0
        elif self._owed or (self.is_full and self._wants_cleaning()):
            timeout_s = self._limits.retry_s
        elif self._wants_cleaning():
            timeout_s = self._limits.interval_s
        else:
            timeout_s = None
        if timeout_s != 0.0:
            self._wake.wait(timeout_s)
        pause_s = self._last_start + self._limits.interval_s - time.monotonic()
        if pause_s > 0:
            time.sleep(pause_s)
        self._wake.clear()
        self._last_start = time.monotonic()

    def _round(self) -> bool:
        """Commit once; return whether there was something to do."""
        groups = self._take()
        copies = self._clean()
        if copies or groups or self._owed:
            self._commit(copies, [*self._owed, *groups])
        if self._cleaning is not None and self._cleaning.is_done:
            self._end_cleaning(self._cleaning)
        self._remove_dead()
        return bool(groups)

    def _take(self) -> list[CommitGroup]:
        groups: list[CommitGroup] = []
        size = 0
        # half a segment at most, so that segments are of one size and can be used again
        limit = min(self._limits.batch_bytes, self._limits.segment_bytes // 2)
        while self._inbox and size < limit:
            group = self._inbox.popleft()
            groups.append(group)
            size += len(group.body)
        return groups

    def _commit(self, copies: list[CommitGroup], groups: list[CommitGroup]) -> None:
        self._owed = []
        if self.is_full and time.monotonic() < self._retry_at:
            self._fall_back(copies, groups)
            return
        try:
            self._write(copies, groups)
        except OSError as exc:
            if not self.is_full:
                logger.warning("cannot write to the journal, refusing messages: %s", exc)
            self.is_full = True
            self._retry_at = time.monotonic() + self._limits.retry_s
            self._fall_back(copies, groups)
        else:
            if self.is_full:
                logger.info("the journal can be written again")
            self.is_full = False

    def _fall_back(self, copies: list[CommitGroup], groups: list[CommitGroup]) -> None:
        """Refuse groups that may be refused; write the others, or keep them until there is room."""
        self._refuse([group for group in groups if not group.must])
        rest = [group for group in groups if group.must]
        if not copies and not rest:
            return
        try:
            self._write(copies, rest, is_urgent=True)
        except OSError:
            self._apply(rest)  # so that their segments can be removed
            self._owed = rest
            self._cleaning = None  # it begins again, with what is not copied yet

    def _write(
        self, copies: list[CommitGroup], groups: list[CommitGroup], *, is_urgent: bool = False
    ) -> None:
        bodies = [group.body for group in (*copies, *groups)]
        before = self._log.written_bytes
        self._log.write(bodies, is_urgent=is_urgent)
        self.commits += 1
        size = sum(len(group.body) for group in groups)
        self._finish(_dones_of(groups), True, size)
        self._apply(copies)
        self._apply(groups)
        copied = sum(len(group.body) for group in copies)
        self._credit += CLEAN_SHARE * (self._log.written_bytes - before - copied) - copied

    def _refuse(self, groups: list[CommitGroup]) -> None:
        if groups:
            self._finish(_dones_of(groups), False, sum(len(group.body) for group in groups))

    def _apply(self, groups: list[CommitGroup]) -> None:
        apply, number = self._image.apply, self._log.number
        for group in groups:
            for record in group.records:
                apply(record, number)

    def _clean(self) -> list[CommitGroup]:
        if not self._wants_cleaning():
            return []
        if self._cleaning is None:
            oldest = self._log.oldest
            assert oldest is not None  # it wants to
            try:
                buffer = self._log.read_oldest()
            except OSError as exc:
                logger.warning("cannot read segment %s of the journal: %s", oldest, exc)
                buffer = b""
            self._cleaning = SegmentCleaner(self._image, oldest, buffer)
        copies = self._cleaning.step(CLEAN_STEP_BYTES)
        return [CommitGroup(encode_records(copy), [*copy], [], True) for copy in copies]

    def _wants_cleaning(self) -> bool:
        if self._cleaning is not None:
            return True
        log, limits = self._log, self._limits
        if log.oldest is None or self._credit <= 0:
            return False
        return should_clean(
            log.size_bytes, self._image.live_bytes, log.segments, limits.segment_bytes
        )

    def _end_cleaning(self, cleaning: SegmentCleaner) -> None:
        self._cleaning = None
        lost = self._image.abandon(cleaning.name.number)
        if lost:
            logger.error("%d items of the journal are in memory only: their segment %s is damaged",
                         lost, cleaning.name)  # fmt: skip

    def _remove_dead(self) -> None:
        while (oldest := self._log.oldest) is not None and not self._image.live[oldest.number]:
            if self._cleaning is not None and self._cleaning.name == oldest:
                self._cleaning = None
            try:
                self._log.remove_oldest()
            except OSError as exc:
                logger.warning("cannot remove segment %s of the journal: %s", oldest, exc)
                return
            del self._image.live[oldest.number]


def _dones_of(groups: list[CommitGroup]) -> list[Done]:
    return [done for group in groups for done in group.dones]
