"""Stores messages on disk until the cloud has acknowledged them (store-and-forward).

What holds after every call:
- The spool calls `done(True)` for a message after its transaction has been synced to disk.
- One transaction takes all messages that arrived while the previous one was synced.
- Row ids only grow, so reading in their order keeps the order of arrival.
- The bytes on disk never exceed the limit; the `when_full` rule chooses the message to drop.
- A message that the cloud refuses is set aside, within a limit of its own.
"""

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path

from gateway.errors import GatewayError
from gateway.spool.file import SpoolFile
from gateway.spool.values import (
    Append,
    Done,
    SpoolContents,
    SpoolEntry,
    SpoolStatus,
    WhenFull,
    WriteBatch,
    WriteResult,
)

logger = logging.getLogger(__name__)

LAZY_DELETE_S = (
    1.0  # a deletion waits so long for an append to share its sync; a crash costs duplicates
)
RETRY_S = 1.0  # after the disk could not be written
READ_BYTES = 4 * 1024 * 1024  # of payloads, in one read
UNSTORED_LIMIT = 64  # messages that wait to be set aside; the spool only counts further ones
LOG_INTERVAL_S = 10.0  # between two warnings about messages set aside

_Read = tuple[int, int, int, "Future[list[SpoolEntry]]"]


class Spool:
    """The messages for the cloud; the event loop calls all methods."""

    def __init__(
        self,
        path: Path,
        limit_bytes: int,
        when_full: WhenFull = WhenFull.REFUSE,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_stored: list[Callable[[], object]] = []
        self._path, self._limit_bytes, self._rule = path, limit_bytes, when_full
        self._clock, self._monotonic = clock, monotonic
        self._file = SpoolFile(path, limit_bytes, when_full)
        self._held = SpoolContents()
        self._pending_messages = self._pending_bytes = 0  # not on disk yet
        self._refused = self._dropped_oldest = self._unsent = self._asides = 0
        self._watermark = self._deleted = 0
        self._is_full = False
        self._broken = ""
        self._logged_at = float("-inf")
        self._batch = WriteBatch()  # of the next transaction
        self._delete_up_to = 0  # in the next transaction
        self._reads: list[_Read] = []
        self._is_closing = False
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._write, name="spool", daemon=True)
        self._loop: asyncio.AbstractEventLoop
        self._opened: asyncio.Future[SpoolContents]
        self._closed: asyncio.Future[None]

    async def open(self) -> None:
        """Open the file; GatewayError when it cannot be used."""
        self._loop = asyncio.get_running_loop()
        self._opened, self._closed = self._loop.create_future(), self._loop.create_future()
        self._thread.start()
        try:
            self._held = await self._opened
        except (sqlite3.Error, OSError) as exc:
            raise GatewayError(f"cannot open spool {self._path}: {exc}") from exc
        if self._held.messages:
            logger.info("spool holds %d messages for the cloud", self._held.messages)

    async def close(self) -> None:
        """Commit what was appended and close the file."""
        if not self._thread.is_alive():
            return
        with self._wake:
            self._delete_up_to = self._watermark
            self._is_closing = True
            self._wake.notify()
        await self._closed

    def add_stored_listener(self, listener: Callable[[], object]) -> None:
        """Call a listener whenever there are new messages to read."""
        self._on_stored.append(listener)

    def append(self, topic: str, payload: bytes, done: Done, *, retain: bool) -> None:
        """Store a message; done(True) follows when it is on disk, done(False) if it is dropped."""
        new = Append(topic, payload, retain, done)
        if new.size > self._limit_bytes:
            self.put_aside(
                topic, payload, f"{new.size} bytes, larger than the spool", retain=retain
            )
            done(True)
            return
        # DROP_OLDEST deletes rows on disk for a new message, and no message that waits
        held_bytes = 0 if self._rule is WhenFull.DROP_OLDEST else self._held.bytes
        if held_bytes + self._pending_bytes + new.size > self._limit_bytes:
            self._refuse()
            done(self._rule is not WhenFull.REFUSE)
            return
        self._is_full = False
        self._pending_messages += 1
        self._pending_bytes += new.size
        with self._wake:
            self._batch.appends.append(new)
            self._delete_up_to = self._watermark
            self._wake.notify()

    def set_aside(self, row_id: int, topic: str, reason: str) -> None:
        """Set a stored message aside: the cloud refuses it."""
        self._note_aside(topic, reason)
        with self._wake:
            self._batch.asides.append((row_id, reason))
            self._wake.notify()

    def put_aside(self, topic: str, payload: bytes, reason: str, *, retain: bool) -> None:
        """Set a message aside that is not stored: the cloud would refuse it."""
        self._note_aside(topic, reason)
        with self._wake:
            if len(self._batch.unstored) < UNSTORED_LIMIT:
                self._batch.unstored.append((Append(topic, payload, retain, _ignore), reason))
                self._wake.notify()

    async def read(self, after: int, limit: int, limit_bytes: int = READ_BYTES) -> list[SpoolEntry]:
        """Return the oldest stored messages beyond a row id; GatewayError if unreadable."""
        future: Future[list[SpoolEntry]] = Future()
        with self._wake:
            self._reads.append((after, limit, limit_bytes, future))
            self._wake.notify()
        try:
            return await asyncio.wrap_future(future)
        except (sqlite3.Error, OSError) as exc:
            raise GatewayError(f"cannot read spool {self._path}: {exc}") from exc

    def forget(self, watermark: int) -> None:
        """Delete all messages up to a row id soon: the cloud has acknowledged them."""
        if self._watermark == self._deleted:
            self._loop.call_later(LAZY_DELETE_S, self._flush)
        self._watermark = max(self._watermark, watermark)

    def status(self) -> SpoolStatus:
        """Return the contents of the spool, with the messages that are not on disk yet."""
        held = self._held
        dropped = self._refused + self._dropped_oldest + self._unsent
        return SpoolStatus(
            messages=held.messages + self._pending_messages,
            bytes=min(held.bytes + self._pending_bytes, self._limit_bytes),
            limit_bytes=self._limit_bytes,
            when_full=str(self._rule),
            full=self._is_full or bool(self._broken),
            error=self._broken,
            refused=self._refused,
            dropped_oldest=self._dropped_oldest,
            dropped=dropped,
            set_aside=held.aside,
            set_aside_total=self._asides,
            latest=held.latest,
        )

    def count_dropped(self) -> None:
        """Count a QoS 0 message that no connection could send."""
        self._unsent += 1

    # on the event loop, called by the thread -------------------------------------------

    def _refuse(self) -> None:
        self._refused += 1
        self._flush()  # delete acknowledged messages at once, for the space
        if not self._is_full:
            self._is_full = True
            logger.warning(
                "spool is full (%d bytes, [spool] when_full = %s): new messages do not reach the"
                " cloud, on this node they are delivered",
                self._held.bytes, self._rule,
            )  # fmt: skip

    def _note_aside(self, topic: str, reason: str) -> None:
        self._asides += 1
        now = self._monotonic()
        if now - self._logged_at >= LOG_INTERVAL_S:
            self._logged_at = now
            logger.warning("set aside %.120s for the cloud: %s", topic, reason)
        else:
            logger.debug("set aside %.120s for the cloud: %s", topic, reason)

    def _flush(self) -> None:
        if self._watermark > self._deleted and self._thread.is_alive():
            with self._wake:
                self._delete_up_to = self._watermark
                self._wake.notify()

    def _written(self, work: WriteBatch, outcome: WriteResult) -> None:
        self._held = outcome.held
        self._pending_messages -= len(work.appends)
        self._pending_bytes -= sum(append.size for append in work.appends)
        if outcome.dropped_oldest:
            self._note_dropped(outcome.dropped_oldest)
        if outcome.is_rest_done:
            self._deleted = max(self._deleted, work.watermark)
        else:
            self._loop.call_later(RETRY_S, self._retry, work)
        self._note_error(outcome.error)
        self._refused += outcome.stored.count(False)
        for append, stored in zip(work.appends, outcome.stored, strict=True):
            append.done(stored or self._rule is not WhenFull.REFUSE)
        if any(outcome.stored):
            for listener in self._on_stored:
                listener()

    def _retry(self, work: WriteBatch) -> None:
        with self._wake:
            self._batch.asides[:0] = work.asides
            self._delete_up_to = self._watermark
            self._wake.notify()

    def _note_dropped(self, count: int) -> None:
        if not self._dropped_oldest:
            logger.warning("spool is full (%d bytes): dropping the oldest", self._limit_bytes)
        self._dropped_oldest += count

    def _note_error(self, error: str) -> None:
        if error and not self._broken:
            logger.warning("cannot write spool %s: %s", self._path, error)
        elif self._broken and not error:
            logger.info("spool %s can be written again", self._path)
        self._broken = error

    # in the thread ---------------------------------------------------------------------

    def _write(self) -> None:
        file = self._file
        try:
            held = file.open()
        except Exception as exc:  # noqa: BLE001  # raised by open()
            self._loop.call_soon_threadsafe(self._opened.set_exception, exc)
            return
        self._loop.call_soon_threadsafe(self._opened.set_result, held)
        deleted = 0
        while True:
            work, reads, is_closing = self._take_work(deleted)
            if work.appends or work.asides or work.unstored or work.watermark > deleted:
                outcome = file.write(work)
                if outcome.is_rest_done:
                    deleted = max(deleted, work.watermark)
                self._loop.call_soon_threadsafe(self._written, work, outcome)
            for after, limit, limit_bytes, future in reads:
                _answer(partial(file.read, after, limit, limit_bytes), future)
            if is_closing:
                file.close()
                self._loop.call_soon_threadsafe(self._closed.set_result, None)
                return

    def _take_work(self, deleted: int) -> tuple[WriteBatch, list[_Read], bool]:
        with self._wake:
            while not (
                self._batch.appends
                or self._batch.asides
                or self._batch.unstored
                or self._reads
                or self._is_closing
                or self._delete_up_to > deleted
            ):
                self._wake.wait()
            work = replace(self._batch, watermark=self._delete_up_to, now=self._clock())
            self._batch, self._delete_up_to = WriteBatch(), 0
            reads, self._reads = self._reads, []
            return work, reads, self._is_closing


def _answer(read: Callable[[], list[SpoolEntry]], future: "Future[list[SpoolEntry]]") -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(read())
    except Exception as exc:  # noqa: BLE001  # raised by read()
        future.set_exception(exc)


def _ignore(_stored: bool) -> None:
    return
