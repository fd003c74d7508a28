"""Which BEPs exist, and what happens to connections that come for them. Pure.

Theory of operation
-------------------
A connection C is whatever the caller uses for one; it is compared by identity only. Every verb
returns what is to be done now, in order. Five rules hold after every call:

1. A BEP exists from its first control connection until it expires, is revoked, has been
   without visitors for idle_s, or without control connection and streams for grace_s. Visitors
   that wait do not keep it: anyone may come, and a node that is gone serves none of them.
2. A visitor is joined at once if a data connection is ready, the newest first: it is the one
   most surely alive. Else it waits, NEED is sent, and the next data connection is its own.
3. No BEP has waiting visitors and ready data connections at the same time.
4. A new control connection replaces the old one and the data connections that were ready: the
   node has reconnected, what it opened before may be dead without our knowing.
5. What a peer does wrong is answered to that peer and changes nothing for others.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from cloud.relay.actions import Action, Answer, Close, Cut, Join, Reject, SendFrame
from cloud.relay.limits import RelayLimits
from protocol.preface import EndReason, FrameType, Status

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Claim:
    """What a relay token entitles to."""

    bep_id: str
    node_id: str
    lasts_s: float  # from now


@dataclass(frozen=True, slots=True)
class RelayedBep:
    """One BEP as its owner sees it."""

    id: str
    node_id: str
    visitors: int  # now
    bytes: int  # both ways
    opened_at: float  # unix seconds
    ready: int
    visitors_total: int


@dataclass(slots=True)
class _Bep(Generic[C]):
    id: str
    node_id: str
    opened_at: float
    expires: float
    last_used: float
    control: C | None = None
    control_lost: float = 0.0
    pinged: float = 0.0
    ponged: bool = True
    needed: float = 0.0
    ready: list[C] = field(default_factory=list)
    waiting: deque[tuple[C, float]] = field(default_factory=deque)  # with deadlines, in order
    streams: set[C] = field(default_factory=set)
    visitors_total: int = 0
    moved: int = 0


class Beps(Generic[C]):
    """All BEPs of one relay."""

    def __init__(self, limits: RelayLimits) -> None:
        self._limits = limits
        self._beps: dict[str, _Bep[C]] = {}
        self._owners: dict[C, _Bep[C]] = {}  # of control, ready and joined connections
        self._revoked: dict[str, float] = {}

    @property
    def connections(self) -> int:
        """How many it holds: control, ready and joined ones."""
        return len(self._owners)

    def open(self, control: C, claim: Claim, now: float) -> list[Action[C]]:
        """Take a control connection."""
        bep = self._beps.get(claim.bep_id)
        if bep is not None and bep.node_id != claim.node_id:
            return [Answer(control, Status.BAD_TOKEN)]
        dropped: list[Action[C]] = []
        if bep is not None:
            bep.expires = max(bep.expires, now + claim.lasts_s)
            dropped = self._drop_connections(bep)
        elif claim.bep_id in self._revoked:
            return [Answer(control, Status.GONE)]
        elif len(self._beps) >= self._limits.beps:
            return [Answer(control, Status.LIMIT)]
        else:
            bep = _Bep(claim.bep_id, claim.node_id, now, now + claim.lasts_s, last_used=now)
            self._beps[bep.id] = bep
        bep.control, bep.pinged, bep.ponged = control, now, True
        self._owners[control] = bep
        accepted = Answer(control, Status.ACCEPTED)
        return [*dropped, accepted, *self._need(bep, len(bep.waiting), now)]

    def offer(self, data: C, claim: Claim) -> list[Action[C]]:
        """Take a data connection."""
        bep = self._beps.get(claim.bep_id)
        if bep is None:
            return [Answer(data, Status.GONE)]
        if bep.node_id != claim.node_id:
            return [Answer(data, Status.BAD_TOKEN)]
        if bep.waiting:
            visitor, _ = bep.waiting.popleft()
            return [Answer(data, Status.ACCEPTED), self._join(bep, visitor, data)]
        if len(bep.ready) >= self._limits.ready:
            return [Answer(data, Status.LIMIT)]
        bep.ready.append(data)
        self._owners[data] = bep
        return [Answer(data, Status.ACCEPTED)]

    def visit(self, visitor: C, bep_id: str, now: float) -> list[Action[C]]:
        """Take a visitor."""
        bep = self._beps.get(bep_id)
        if bep is None:
            return [Reject(visitor, 404, "no such BEP, or it has ended")]
        if len(bep.streams) + len(bep.waiting) >= self._limits.streams:
            return [Reject(visitor, 503, "it has too many visitors")]
        if bep.ready:
            data = bep.ready.pop()
            del self._owners[data]
            return [self._join(bep, visitor, data)]
        if len(bep.waiting) >= self._limits.waiting:
            return [Reject(visitor, 503, "too many visitors wait for it")]
        bep.waiting.append((visitor, now + self._limits.wait_s))
        return self._need(bep, 1, now)

    def retry(self, visitor: C, now: float) -> list[Action[C]]:
        """Take a visitor again whose data connection turned out to be dead."""
        bep = self._owners.pop(visitor, None)
        if bep is None:
            return []
        bep.streams.discard(visitor)
        bep.visitors_total -= 1
        return self.visit(visitor, bep.id, now)

    def heard(self, control: C) -> None:
        """Note the answer to a PING."""
        bep = self._owners.get(control)
        if bep is not None:
            bep.ponged = True

    def lost(self, connection: C, now: float) -> None:
        """Note that a control or ready connection is gone; harmless for others."""
        bep = self._owners.get(connection)
        if bep is None or connection in bep.streams:
            return
        del self._owners[connection]
        if bep.control is connection:
            bep.control, bep.control_lost = None, now
        else:
            bep.ready.remove(connection)

    def stream_ended(self, visitor: C, moved: int, now: float) -> None:
        """Note that a joined visitor has left, after so many bytes."""
        bep = self._owners.pop(visitor, None)
        if bep is not None:
            bep.streams.discard(visitor)
            bep.moved += moved
            bep.last_used = now

    def revoke(self, bep_id: str, now: float) -> list[Action[C]]:
        """End a BEP, and refuse its token from now on."""
        self._revoked.pop(bep_id, None)  # so that the oldest comes first
        if len(self._revoked) >= self._limits.revocations:
            del self._revoked[next(iter(self._revoked))]
        self._revoked[bep_id] = now + self._limits.revoked_s
        bep = self._beps.get(bep_id)
        return [] if bep is None else self._end(bep, EndReason.REVOKED)

    def stop(self) -> list[Action[C]]:
        """End all BEPs."""
        beps = list(self._beps.values())
        return [action for bep in beps for action in self._end(bep, EndReason.RELAY_STOPS)]

    def tick(self, now: float) -> list[Action[C]]:
        """Do what is due."""
        while self._revoked and now >= next(iter(self._revoked.values())):
            del self._revoked[next(iter(self._revoked))]
        beps = list(self._beps.values())
        return [action for bep in beps for action in self._tick(bep, now)]

    def snapshot(self, moving: Callable[[C], int], epoch: float) -> list[RelayedBep]:
        """Return every BEP; moving tells a running stream's bytes, epoch is added to instants."""
        return [
            RelayedBep(
                id=bep.id,
                node_id=bep.node_id,
                visitors=len(bep.streams),
                bytes=bep.moved + sum(moving(visitor) for visitor in bep.streams),
                opened_at=bep.opened_at + epoch,
                ready=len(bep.ready),
                visitors_total=bep.visitors_total,
            )
            for bep in self._beps.values()
        ]

    def _tick(self, bep: _Bep[C], now: float) -> list[Action[C]]:
        reason = self._why_end(bep, now)
        if reason is not None:
            return self._end(bep, reason)
        return [*self._check_control(bep, now), *self._check_waiting(bep, now)]

    def _join(self, bep: _Bep[C], visitor: C, data: C) -> Action[C]:
        bep.streams.add(visitor)
        bep.visitors_total += 1
        self._owners[visitor] = bep
        return Join(visitor, data)

    def _need(self, bep: _Bep[C], count: int, now: float) -> list[Action[C]]:
        if bep.control is None or not count:
            return []
        bep.needed = now
        return [SendFrame(bep.control, FrameType.NEED, count)]

    def _why_end(self, bep: _Bep[C], now: float) -> EndReason | None:
        limits = self._limits
        if now >= bep.expires:
            return EndReason.EXPIRED
        if bep.streams:
            return None
        if bep.control is None and now >= bep.control_lost + limits.grace_s:
            return EndReason.IDLE
        if now >= bep.last_used + limits.idle_s and not bep.waiting:
            return EndReason.IDLE
        return None

    def _check_control(self, bep: _Bep[C], now: float) -> list[Action[C]]:
        control = bep.control
        if control is None:
            return []
        if not bep.ponged and now >= bep.pinged + self._limits.pong_s:
            self.lost(control, now)
            return [Close(control)]
        if bep.ponged and now >= bep.pinged + self._limits.ping_s:
            bep.pinged, bep.ponged = now, False
            return [SendFrame(control, FrameType.PING, 0)]
        return []

    def _check_waiting(self, bep: _Bep[C], now: float) -> list[Action[C]]:
        actions: list[Action[C]] = []
        while bep.waiting and now >= bep.waiting[0][1]:
            visitor, _ = bep.waiting.popleft()
            actions.append(Reject(visitor, 504, "its node opened no connection in time"))
        if now >= bep.needed + self._limits.need_s:
            actions += self._need(bep, len(bep.waiting), now)
        return actions

    def _end(self, bep: _Bep[C], reason: EndReason) -> list[Action[C]]:
        del self._beps[bep.id]
        actions: list[Action[C]] = []
        if bep.control is not None:
            actions.append(SendFrame(bep.control, FrameType.END, reason))
        actions += self._drop_connections(bep)
        actions += [Reject(visitor, 404, "it has ended") for visitor, _ in bep.waiting]
        for visitor in bep.streams:
            del self._owners[visitor]
            actions.append(Cut(visitor))
        return actions

    def _drop_connections(self, bep: _Bep[C]) -> list[Action[C]]:
        connections = [*bep.ready, *([] if bep.control is None else [bep.control])]
        bep.ready.clear()
        for connection in connections:
            del self._owners[connection]
        return [Close(connection) for connection in connections]
