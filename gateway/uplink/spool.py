"""Store-and-forward on disk.

What holds after every call:
- A message is stored when its transaction is synced to disk; `done(True)` is called after that.
- One transaction takes everything that arrived while the one before it was being synced.
- Row ids only grow, so reading in their order keeps the order of arrival.
- Bytes held never exceed the limit: the newest message is refused, `done(False)`, and counted.
"""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from gateway.errors import GatewayError

logger = logging.getLogger(__name__)

Done = Callable[[bool], None]

ROW_OVERHEAD_BYTES = 32  # measured: page bytes per row beyond topic and payload
# Below what the cloud's broker takes (2,000,000): one that it refused would block all behind it
MESSAGE_LIMIT_BYTES = 1024 * 1024
TOPIC_LIMIT_CHARACTERS = 15_000  # of up to 4 bytes: MQTT's 65,535 less the cloud's prefix
LAZY_DELETE_S = 1.0  # deletes wait for the next append this long: less wear, at worst duplicates

_SCHEMA = """
CREATE TABLE IF NOT EXISTS spool (
    row_id  INTEGER PRIMARY KEY AUTOINCREMENT,
    topic   TEXT NOT NULL,
    payload BLOB NOT NULL,
    retain  INTEGER NOT NULL,
    size    INTEGER NOT NULL
)
"""


class Entry(NamedTuple):
    """One stored message."""

    row_id: int
    topic: str
    payload: bytes
    retain: bool


@dataclass(frozen=True, slots=True)
class SpoolStatus:
    """What the spool holds now, and what it had to refuse since the start."""

    messages: int
    bytes: int
    dropped: int


@dataclass(slots=True)
class _Work:
    """What the writer thread does in one round."""

    appends: list[tuple[str, bytes, bool, int]] = field(default_factory=list)
    dones: list[Done] = field(default_factory=list)
    reads: list[tuple[int, int, Future[list[Entry]]]] = field(default_factory=list)
    watermark: int = 0
    closing: bool = False


class Spool:
    """Keeps messages for the cloud; all methods are called on the event loop."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self.on_stored: Callable[[], None] = lambda: None  # there is something new to read
        self._path, self._limit_bytes = path, limit_bytes
        self._messages = self._bytes = self._dropped = 0
        self._watermark = self._deleted = 0
        self._full = self._broken = False
        self._work = _Work()
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._write, name="spool", daemon=True)
        self._loop: asyncio.AbstractEventLoop
        self._opened: asyncio.Future[tuple[int, int]]
        self._closed: asyncio.Future[None]

    async def open(self) -> None:
        """Open the file; GatewayError when it cannot be used."""
        self._loop = asyncio.get_running_loop()
        self._opened, self._closed = self._loop.create_future(), self._loop.create_future()
        self._thread.start()
        try:
            self._messages, self._bytes = await self._opened
        except (sqlite3.Error, OSError) as exc:
            raise GatewayError(f"cannot open spool {self._path}: {exc}") from exc
        if self._messages:
            logger.info("spool holds %d messages for the cloud", self._messages)

    async def close(self) -> None:
        """Commit what was appended and close the file."""
        if not self._thread.is_alive():
            return
        with self._wake:
            self._work.watermark = self._watermark
            self._work.closing = True
            self._wake.notify()
        await self._closed

    def append(self, topic: str, payload: bytes, done: Done, *, retain: bool) -> None:
        """Store a message; done(True) once it is on disk, done(False) when it is not kept."""
        size = len(topic) + len(payload) + ROW_OVERHEAD_BYTES
        too_large = len(payload) > MESSAGE_LIMIT_BYTES or len(topic) > TOPIC_LIMIT_CHARACTERS
        if too_large or self._bytes + size > self._limit_bytes:
            self._refuse(topic, size, too_large=too_large)
            done(False)
            return
        self._full = False
        self._messages += 1
        self._bytes += size
        with self._wake:
            self._work.appends.append((topic, payload, retain, size))
            self._work.dones.append(done)
            self._work.watermark = self._watermark
            self._wake.notify()

    async def read(self, after: int, limit: int) -> list[Entry]:
        """Return the oldest stored messages beyond a row id; GatewayError if unreadable."""
        future: Future[list[Entry]] = Future()
        with self._wake:
            self._work.reads.append((after, limit, future))
            self._wake.notify()
        try:
            return await asyncio.wrap_future(future)
        except sqlite3.Error as exc:
            raise GatewayError(f"cannot read spool {self._path}: {exc}") from exc

    def forget(self, watermark: int) -> None:
        """Delete, soon, everything up to a row id: the cloud has it."""
        if self._watermark == self._deleted:
            self._loop.call_later(LAZY_DELETE_S, self._flush)
        self._watermark = max(self._watermark, watermark)

    def status(self) -> SpoolStatus:
        """Return what the spool holds, the messages on their way to the disk included."""
        return SpoolStatus(self._messages, self._bytes, self._dropped)

    def count_dropped(self) -> None:
        """Count a message that was not to be stored and could not be sent."""
        self._dropped += 1

    # on the event loop, reporting from the thread --------------------------------------

    def _refuse(self, topic: str, size: int, *, too_large: bool) -> None:
        self._dropped += 1
        if too_large:
            logger.warning("cannot carry %.80s to the cloud: %d bytes; use a BEP", topic, size)
        elif not self._full:
            self._full = True
            logger.warning("spool is full (%d bytes): refusing messages", self._bytes)

    def _flush(self) -> None:
        if self._watermark > self._deleted and self._thread.is_alive():
            with self._wake:
                self._work.watermark = self._watermark
                self._wake.notify()

    def _committed(self, work: _Work, deleted: tuple[int, int]) -> None:
        self._messages -= deleted[0]
        self._bytes -= deleted[1]
        self._deleted = max(self._deleted, work.watermark)
        if self._broken:
            self._broken = False
            logger.info("spool %s can be written again", self._path)
        for done in work.dones:
            done(True)
        if work.dones:
            self.on_stored()

    def _failed(self, work: _Work, exc: Exception) -> None:
        self._messages -= len(work.appends)
        self._bytes -= sum(size for *_, size in work.appends)
        self._dropped += len(work.appends)
        if not self._broken:
            self._broken = True
            logger.warning("cannot write spool %s: %s", self._path, exc)
        for done in work.dones:
            done(False)
        if self._watermark > self._deleted:
            self._loop.call_later(LAZY_DELETE_S, self._flush)

    # in the thread ---------------------------------------------------------------------

    def _write(self) -> None:
        try:
            database, held = _open_or_set_aside(self._path)
        except (sqlite3.Error, OSError) as exc:
            self._loop.call_soon_threadsafe(self._opened.set_exception, exc)
            return
        self._loop.call_soon_threadsafe(self._opened.set_result, held)
        deleted = 0
        while True:
            work = self._take_work(deleted)
            if work.appends or work.watermark > deleted:
                try:
                    freed = _commit(database, work, delete=work.watermark > deleted)
                except sqlite3.Error as exc:  # disk full, medium gone: the senders are told
                    self._loop.call_soon_threadsafe(self._failed, work, exc)
                else:
                    deleted = max(deleted, work.watermark)
                    self._loop.call_soon_threadsafe(self._committed, work, freed)
            for after, limit, future in work.reads:
                _answer(database, after, limit, future)
            if work.closing:
                database.close()
                self._loop.call_soon_threadsafe(self._closed.set_result, None)
                return

    def _take_work(self, deleted: int) -> _Work:
        with self._wake:
            while not (
                self._work.appends
                or self._work.reads
                or self._work.closing
                or self._work.watermark > deleted
            ):
                self._wake.wait()
            work, self._work = self._work, _Work()
            return work


def _open_or_set_aside(path: Path) -> tuple[sqlite3.Connection, tuple[int, int]]:
    """Open the file; a damaged one is kept under another name, since nobody may be there."""
    try:
        return _open(path)
    except sqlite3.DatabaseError as exc:
        if type(exc) is not sqlite3.DatabaseError:  # its subclasses tell of other troubles
            raise
        aside = path.with_name(f"{path.name}.damaged")
        logger.warning("spool %s is damaged (%s); kept as %s", path, exc, aside.name)
        path.replace(aside)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        return _open(path)


def _open(path: Path) -> tuple[sqlite3.Connection, tuple[int, int]]:
    """Return the open file, how many messages it holds and how many bytes they count."""
    database = sqlite3.connect(path, isolation_level=None)
    path.chmod(0o600)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")  # each commit is synced; NORMAL would not be
    database.execute(_SCHEMA)
    held = database.execute("SELECT count(*), coalesce(sum(size), 0) FROM spool").fetchone()
    return database, held


def _commit(database: sqlite3.Connection, work: _Work, *, delete: bool) -> tuple[int, int]:
    """Do the round's writes in one transaction; return messages and bytes deleted."""
    freed = (0, 0)
    database.execute("BEGIN IMMEDIATE")
    try:
        database.executemany(
            "INSERT INTO spool (topic, payload, retain, size) VALUES (?, ?, ?, ?)", work.appends
        )
        if delete:
            old = (work.watermark,)
            freed = database.execute(
                "SELECT count(*), coalesce(sum(size), 0) FROM spool WHERE row_id <= ?", old
            ).fetchone()
            database.execute("DELETE FROM spool WHERE row_id <= ?", old)
        database.execute("COMMIT")
    except sqlite3.Error:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
    return freed


def _answer(
    database: sqlite3.Connection, after: int, limit: int, future: Future[list[Entry]]
) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        rows = database.execute(
            "SELECT row_id, topic, payload, retain FROM spool WHERE row_id > ?"
            " ORDER BY row_id LIMIT ?",
            (after, limit),
        ).fetchall()
        future.set_result(
            [Entry(i, topic, payload, bool(keep)) for i, topic, payload, keep in rows]
        )
    except sqlite3.Error as exc:
        future.set_exception(exc)
