"""Tracks the versions of one container.

Theory of operation
-------------------
    queued ──start──► starting ──ready──► running ──replace──► replaced
      └──supersede─► superseded  └──fail─► failed   └──crash──► crashed
    replaced, crashed, failed, superseded ──queue──► queued     (a rollback)
    failed, replaced ──ready──► running     (there is no other to run)

The table EVENTS is the machine; an event that it does not hold is a fault of the caller. Five
rules hold after every call:

1. At most one version is running: the last one that was ready. A gateway that starts runs it.
2. A version is good when it ran for the probation time. It stays good whatever follows.
3. A version that crashes before that is left for the newest good one, if there is one.
4. The last version that was queued wins: it supersedes those that wait. A gateway that was ended
   meanwhile starts it by itself, after the one that is running.
5. drop_excess() never drops a version that is running or waits, or one to go back to.

The caller writes what take_changes() returns, in one transaction.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

ACTIVATIONS_LIMIT = 3  # starts of the gateway that try one queued version: it may end the gateway


class VersionState(StrEnum):
    """The states of a version."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    REPLACED = "replaced"
    FAILED = "failed"
    CRASHED = "crashed"
    SUPERSEDED = "superseded"


class VersionEvent(StrEnum):
    """The events of a version."""

    QUEUE = "queue"
    START = "start"
    READY = "ready"
    REPLACE = "replace"
    FAIL = "fail"
    CRASH = "crash"
    SUPERSEDE = "supersede"


_S, _E = VersionState, VersionEvent
EVENTS: Mapping[tuple[VersionState, VersionEvent], VersionState] = {
    (_S.QUEUED, _E.START): _S.STARTING,
    (_S.QUEUED, _E.READY): _S.RUNNING,
    (_S.QUEUED, _E.FAIL): _S.FAILED,
    (_S.QUEUED, _E.SUPERSEDE): _S.SUPERSEDED,
    (_S.STARTING, _E.START): _S.STARTING,
    (_S.STARTING, _E.READY): _S.RUNNING,
    (_S.STARTING, _E.FAIL): _S.FAILED,
    (_S.STARTING, _E.SUPERSEDE): _S.SUPERSEDED,
    (_S.RUNNING, _E.REPLACE): _S.REPLACED,
    (_S.RUNNING, _E.CRASH): _S.CRASHED,
    (_S.REPLACED, _E.READY): _S.RUNNING,
    (_S.REPLACED, _E.QUEUE): _S.QUEUED,
    (_S.CRASHED, _E.READY): _S.RUNNING,
    (_S.CRASHED, _E.QUEUE): _S.QUEUED,
    (_S.FAILED, _E.READY): _S.RUNNING,
    (_S.FAILED, _E.QUEUE): _S.QUEUED,
    (_S.SUPERSEDED, _E.QUEUE): _S.QUEUED,
}
WAITING = (VersionState.QUEUED, VersionState.STARTING)
_NOT_AT_FAULT = (VersionState.RUNNING, VersionState.SUPERSEDED)


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """One version of a container: its content, its environment, and how it ended."""

    container_id: str
    number: int
    posted: int  # order in which versions were queued last
    image_id: str
    digest: str
    runtime: str
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    created: float = 0.0  # unix seconds
    ended: float = 0.0  # the time of its end; 0 while it runs or waits
    state: VersionState = VersionState.QUEUED
    good: bool = False  # it ran for the probation time
    error: str = ""  # the reason of its failure or crash
    activations: int = 0  # starts of the gateway that tried it while it was queued


class VersionHistory:
    """The versions of one container, and the changes that are not on disk yet."""

    def __init__(self, versions: Iterable[StoredVersion] = ()) -> None:
        self._versions = {version.number: version for version in versions}
        self._changed: dict[int, StoredVersion | None] = {}  # None: to be deleted

    def all(self) -> list[StoredVersion]:
        """Return the versions, the newest first."""
        return [self._versions[number] for number in sorted(self._versions, reverse=True)]

    def find(self, number: int) -> StoredVersion | None:
        """Return a version by its number."""
        return self._versions.get(number)

    @property
    def running(self) -> StoredVersion | None:
        """The version that was ready last."""
        return next((v for v in self.all() if v.state is VersionState.RUNNING), None)

    @property
    def waiting(self) -> StoredVersion | None:
        """The version that was queued last, until it is ready or has failed."""
        found = [v for v in self._versions.values() if v.state in WAITING]
        return max(found, key=lambda v: v.posted, default=None)

    @property
    def newest(self) -> StoredVersion | None:
        """The version with the highest number."""
        return next(iter(self.all()), None)

    @property
    def newest_good(self) -> StoredVersion | None:
        """The good version with the highest number."""
        return next((version for version in self.all() if version.good), None)

    @property
    def digests(self) -> frozenset[str]:
        """The contents that the versions need."""
        return frozenset(version.digest for version in self._versions.values())

    @property
    def note(self) -> str:
        """The reason why the last version that was deployed is not the one that runs; "" if it is.

        A version that was deployed later than the running one failed, or crashed.
        """
        running = self.running
        last = max(self._versions.values(), key=lambda v: v.posted, default=None)
        if running is None or last is None or last.posted <= running.posted:
            return ""
        if last.state is VersionState.FAILED:
            return f"version {last.number} failed: {last.error}"
        if last.state is VersionState.CRASHED:
            back = f"version {running.number} runs again"
            return f"version {last.number} ended soon after its start: {last.error}; {back}"
        return ""

    def add(self, version: StoredVersion, now: float) -> StoredVersion:
        """Queue a new version; its number and order are the next ones."""
        number = max(self._versions, default=0) + 1
        added = replace(version, number=number, posted=self._next_posted())
        self._supersede_queued(number, now)
        return self._put(added)

    def queue(self, number: int, now: float) -> StoredVersion:
        """Queue a version again."""
        posted = self._next_posted()
        self._supersede_queued(number, now)
        return self._apply(number, VersionEvent.QUEUE, posted=posted, activations=0, ended=0.0)

    def forget(self, number: int) -> None:
        """Delete a version that changes nothing."""
        if self._versions.pop(number, None) is not None and not self._changed.pop(number, None):
            self._changed[number] = None  # it is on disk

    def start(self, number: int) -> bool:
        """Note that a version is being started; return False when another has superseded it."""
        version = self._versions.get(number)
        if version is None or version.state is VersionState.SUPERSEDED:
            return False
        self._apply(number, VersionEvent.START)
        return True

    def ready(self, number: int, now: float) -> None:
        """Note that a version took over."""
        for other in self.all():
            if other.state is VersionState.RUNNING and other.number != number:
                self._apply(other.number, VersionEvent.REPLACE, ended=now)
        if self._versions[number].state is not VersionState.RUNNING:
            self._apply(number, VersionEvent.READY, ended=0.0, error="")

    def proven(self, number: int) -> None:
        """Note that a version ran for the probation time."""
        if not self._versions[number].good:
            self._put(replace(self._versions[number], good=True))

    def failed(self, number: int, error: str, now: float) -> None:
        """Note that a version did not become ready."""
        self._apply(number, VersionEvent.FAIL, error=error, ended=now)

    def crashed(self, number: int, error: str, now: float) -> None:
        """Note that a version ended before it was proven, and is left for another."""
        self._apply(number, VersionEvent.CRASH, error=error, ended=now)

    def activate(self, now: float) -> StoredVersion | None:
        """Return the version that a starting gateway must deploy; give up the others.

        A version that was tried by so many starts may be what ended the gateway: it fails.
        """
        last = self.waiting
        if last is None:
            return None
        for version in self.all():
            if version.state in WAITING and version.number != last.number:
                self._supersede(version.number, last.number, now)
        if last.activations >= ACTIVATIONS_LIMIT:
            why = f"the gateway ended while it started, {last.activations} times"
            self.failed(last.number, why, now)
            return None
        activations = last.activations + 1
        return self._put(replace(last, state=VersionState.QUEUED, activations=activations))

    def find_fallback(self, number: int) -> StoredVersion | None:
        """Return the version to go back to by itself: the good one that ended last.

        Without a good one it is one that was replaced before it could be proven.
        """
        former = [
            v for v in self._versions.values()
            if v.number != number
            and (v.state is VersionState.REPLACED or (v.good and v.state in _NOT_AT_FAULT))
        ]  # fmt: skip
        return max(former, key=lambda v: (v.good, v.ended, v.number), default=None)

    def find_previous(self, number: int) -> StoredVersion | None:
        """Return the version that a rollback goes back to: the newest before this one that ran."""
        ran = [
            v for v in self._versions.values()
            if v.number < number and (v.good or v.state is VersionState.REPLACED)
        ]  # fmt: skip
        return max(ran, key=lambda v: v.number, default=None)

    def drop_excess(self, keep: int, tried: int = 0) -> list[StoredVersion]:
        """Delete the oldest versions beyond so many; return them.

        Args:
            keep: how many stay.
            tried: the number of the one that the supervisor starts again and again; it stays.
        """
        kept = (*WAITING, VersionState.RUNNING)
        held = {v.number for v in self._versions.values() if v.state in kept} | {tried}
        running = self.running
        if running is not None:
            for found in (self.find_fallback(running.number), self.find_previous(running.number)):
                held |= {found.number} if found is not None else set()
        excess = [v for v in self.all()[keep:] if v.number not in held]
        for version in excess:
            del self._versions[version.number]
            self._changed[version.number] = None
        return excess

    def take_changes(self) -> dict[int, StoredVersion | None]:
        """Return, once, the versions to write by number; None for one to delete."""
        changed, self._changed = self._changed, {}
        return changed

    def keep_changes(self, changes: Mapping[int, StoredVersion | None]) -> None:
        """Write changes with the next ones: they could not be written."""
        self._changed = {**changes, **self._changed}

    def _supersede_queued(self, by: int, now: float) -> None:
        for version in self.all():
            if version.state is VersionState.QUEUED and version.number != by:
                self._supersede(version.number, by, now)

    def _supersede(self, number: int, by: int, now: float) -> None:
        why = f"version {by} was deployed after it"
        self._apply(number, VersionEvent.SUPERSEDE, error=why, ended=now)

    def _next_posted(self) -> int:
        return max((v.posted for v in self._versions.values()), default=0) + 1

    def _apply(self, number: int, event: VersionEvent, **changes: object) -> StoredVersion:
        version = self._versions[number]
        state = EVENTS.get((version.state, event))
        if state is None:
            raise ValueError(f"cannot {event} version {number}: it is {version.state}")
        return self._put(replace(version, state=state, **changes))  # type: ignore[arg-type]  # fields of a version

    def _put(self, version: StoredVersion) -> StoredVersion:
        self._versions[version.number] = self._changed[version.number] = version
        return version
