"""Compares the journal with SQLite: the same messages at the same rate, on this machine's disk.

Each message is an append and, when its subscriber has acknowledged it, a removal, as for one
stored session per publisher. Run by hand: `python -m benchmarks.journal --help`.
"""

import asyncio
import os
import resource
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

import typer

from broker.journal import Journal, JournalLimits
from broker.journal.records import Acknowledged, Opened, QueueEntry, Record, Stored

Done = Callable[[bool], None]

SESSIONS = 100
WINDOW = 1_000  # messages stored and not removed, per run: what subscribers lag behind
TICK_S = 0.001  # a broker reads many sockets per wake-up
SECTOR_BYTES = 512


class BenchStore(Protocol):
    """A store that the benchmark compares with others."""

    async def open(self) -> None: ...
    def add(self, message_id: int, session_id: int, payload: bytes, done: Done) -> None: ...
    def remove(self, session_id: int, message_ids: tuple[int, ...]) -> None: ...
    async def close(self) -> None: ...


class LogStore:
    """The broker's journal."""

    def __init__(self, directory: Path, interval_s: float) -> None:
        self.commits = 0
        self._journal = Journal(directory, limits=JournalLimits(interval_s=interval_s))

    async def open(self) -> None:
        self._journal.open()
        self._journal.start()
        opened: list[Record] = [
            Opened(each, f"client-{each}", "owner", (), 4, 3600.0) for each in range(SESSIONS)
        ]
        self._journal.append(opened)

    def add(self, message_id: int, session_id: int, payload: bytes, done: Done) -> None:
        stored = Stored(
            message_id, f"bench/{session_id}/reading", payload, entries=(QueueEntry(session_id, 1),)
        )
        self._journal.append([stored], done)

    def remove(self, session_id: int, message_ids: tuple[int, ...]) -> None:
        self._journal.append([Acknowledged(session_id, message_ids)])

    async def close(self) -> None:
        self.commits = self._journal.status().commits
        await self._journal.close()


class SqliteStore:
    """WAL, synchronous=FULL, one transaction for all that arrived: a fair SQLite store."""

    def __init__(self, directory: Path, interval_s: float) -> None:
        self.commits = 0
        self._path = directory / "store.db"
        self._interval_s = interval_s
        self._adds: list[tuple[int, str, bytes, int]] = []
        self._removes: list[tuple[int, int]] = []
        self._dones: list[Done] = []
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def add(self, message_id: int, session_id: int, payload: bytes, done: Done) -> None:
        with self._lock:
            self._adds.append((message_id, f"bench/{session_id}/reading", payload, session_id))
            self._dones.append(done)
        self._wake.set()

    def remove(self, session_id: int, message_ids: tuple[int, ...]) -> None:
        with self._lock:
            self._removes.extend((session_id, message_id) for message_id in message_ids)

    async def close(self) -> None:
        self._closing = True
        self._wake.set()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        database = sqlite3.connect(self._path, isolation_level=None)
        database.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY;"
            "CREATE TABLE message (id INTEGER PRIMARY KEY, topic TEXT, payload BLOB);"
            "CREATE TABLE queue (session INTEGER, message INTEGER, PRIMARY KEY (session, message))"
            " WITHOUT ROWID;"
        )
        while not (self._closing and not self._adds and not self._removes):
            self._wake.wait()
            time.sleep(self._interval_s)
            self._wake.clear()
            with self._lock:
                adds, removes, dones = self._adds, self._removes, self._dones
                self._adds, self._removes, self._dones = [], [], []
            database.execute("BEGIN")
            database.executemany(
                "INSERT INTO message VALUES (?, ?, ?)", [each[:3] for each in adds]
            )
            database.executemany(
                "INSERT INTO queue VALUES (?, ?)", [(each[3], each[0]) for each in adds]
            )
            database.executemany("DELETE FROM queue WHERE session = ? AND message = ?", removes)
            database.executemany("DELETE FROM message WHERE id = ?", [each[1:] for each in removes])
            database.execute("COMMIT")
            self.commits += 1
            self._loop.call_soon_threadsafe(_call_all, dones)
        database.close()


def _call_all(dones: list[Done]) -> None:
    for done in dones:
        done(True)


@dataclass(frozen=True, slots=True)
class BenchCost:
    """Counters of this process, and of the device it writes to."""

    cpu_s: float
    device_bytes: int

    @classmethod
    def read(cls, directory: Path) -> "BenchCost":
        used = resource.getrusage(resource.RUSAGE_SELF)
        device = directory.stat().st_dev
        path = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
        sectors = int(path.read_text().split()[6]) if path.exists() else 0
        return cls(used.ru_utime + used.ru_stime, sectors * SECTOR_BYTES)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run."""

    rate: float
    p50_ms: float
    p99_ms: float
    cpu: float  # of one core
    device_bytes: float  # per message
    commits_per_s: float


async def _drive(store: BenchStore, rate: int, seconds: float, payload: bytes) -> list[float]:
    """Publish at a rate, acknowledge what was stored, return how long each commit took."""
    latencies: list[float] = []
    waiting: dict[int, list[int]] = {}
    clock = time.perf_counter
    await store.open()
    start = clock()
    message_id = removed = 0

    def stored(number: int, at: float) -> Done:
        def done(ok: bool) -> None:
            if ok:  # else the disk is too slow, which the rate will show
                latencies.append(clock() - at)
                waiting.setdefault(number % SESSIONS, []).append(number)

        return done

    while (now := clock()) - start < seconds:
        due = int((now - start) * rate)
        while message_id < due:
            message_id += 1
            store.add(message_id, message_id % SESSIONS, payload, stored(message_id, clock()))
        if len(latencies) - removed > WINDOW:
            for session_id, numbers in waiting.items():
                store.remove(session_id, tuple(numbers))
                removed += len(numbers)
            waiting.clear()
        await asyncio.sleep(TICK_S)
    await store.close()
    return latencies


def _measure(
    kind: type[LogStore] | type[SqliteStore], where: Path, options: "JournalBenchOptions"
) -> Outcome:
    with tempfile.TemporaryDirectory(dir=where) as name:
        directory = Path(name)
        store = kind(directory, options.interval_s)
        before, started = BenchCost.read(directory), time.perf_counter()
        payload = os.urandom(options.size)
        latencies = asyncio.run(_drive(store, options.rate, options.seconds, payload))
        elapsed, after = time.perf_counter() - started, BenchCost.read(directory)
    latencies.sort()
    count = len(latencies)
    return Outcome(
        count / elapsed,
        latencies[count // 2] * 1000,
        latencies[count * 99 // 100] * 1000,
        (after.cpu_s - before.cpu_s) / elapsed,
        (after.device_bytes - before.device_bytes) / count,
        store.commits / elapsed,
    )


@dataclass(frozen=True, slots=True)
class JournalBenchOptions:
    """Holds the options of one run."""

    rate: int
    seconds: float
    size: int
    interval_s: float


def main(
    directory: Annotated[
        Path, typer.Option(help="the folder for the files; its device is measured")
    ] = Path(),
    rate: Annotated[int, typer.Option(help="messages per second")] = 20_000,
    seconds: Annotated[float, typer.Option(help="the length of each run")] = 3.0,
    rounds: Annotated[int, typer.Option(help="per store and size, taking turns")] = 3,
    interval_ms: Annotated[float, typer.Option(help="between two commits")] = 2.0,
    sizes: Annotated[list[int] | None, typer.Option(help="payload bytes [64, 1024]")] = None,
) -> None:
    """Measure rate, commit latency, CPU and bytes written per message; medians of the rounds.

    CPU is that of the whole process, the generator included. Bytes are those written to the
    device, by anybody: use a quiet one (a loop device, say).
    """
    kinds: dict[str, type[LogStore] | type[SqliteStore]] = {
        "SQLite": SqliteStore,
        "log": LogStore,
    }
    print("| store | payload | messages/s | p50 ms | p99 ms | CPU | B/message | commits/s |\n"
          "|---|---|---|---|---|---|---|---|")  # fmt: skip
    for size in sizes or [64, 1024]:
        options = JournalBenchOptions(rate, seconds, size, interval_ms / 1000)
        found: dict[str, list[Outcome]] = {name: [] for name in kinds}
        for _ in range(rounds):
            for name, kind in kinds.items():
                found[name].append(_measure(kind, directory, options))
        for name, outcomes in found.items():
            _print_row(name, size, outcomes)


def _print_row(name: str, size: int, outcomes: list[Outcome]) -> None:
    def middle(field: str) -> float:
        return float(statistics.median(getattr(outcome, field) for outcome in outcomes))

    print(f"| {name} | {size} B | {middle('rate'):,.0f} | {middle('p50_ms'):.2f} | "
          f"{middle('p99_ms'):.2f} | {middle('cpu'):.0%} | "
          f"{middle('device_bytes'):.0f} | {middle('commits_per_s'):.0f} |")  # fmt: skip


if __name__ == "__main__":
    typer.run(main)
