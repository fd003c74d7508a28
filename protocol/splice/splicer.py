"""Schedules all joined pairs; moves bytes and reads none.

All sockets are in one epoll set, edge-triggered, which is itself one reader of the event loop:
a socket costs two system calls in its life, not two whenever it blocks. Directions that
can move wait in one queue; each moves at most move_bytes, then goes to its end.
"""

import asyncio
import select
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from protocol.splice.pair import SpliceDirection, SplicedPair
from protocol.splice.pipes import PipePool

EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
ENDED = select.EPOLLHUP | select.EPOLLERR
READABLE = select.EPOLLIN | select.EPOLLRDHUP | ENDED
WRITABLE = select.EPOLLOUT | ENDED
EVENTS_PER_WAKE = 256
MOVES_PER_WAKE = 32  # then the event loop runs other work


@dataclass(frozen=True, slots=True)
class SpliceLimits:
    """Bounds the bytes and the time that a splicer may hold."""

    pipes: int = 32  # of 1 MiB: half of pipe-user-pages-soft, another process may join too
    move_bytes: int = 1 << 20
    idle_s: float = 300.0  # without a byte in either direction
    linger_s: float = 2.0


class Splicer:
    """Runs pairs on the running event loop."""

    def __init__(self, limits: SpliceLimits | None = None) -> None:
        self._limits = limits or SpliceLimits()
        self._pool = PipePool(self._limits.pipes)
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._loop.add_reader(self._epoll.fileno(), self._wake)
        self._directions: dict[
            int, tuple[SpliceDirection, SpliceDirection]
        ] = {}  # by socket: from it, to it
        self._queue: deque[SpliceDirection] = deque()
        self._again: asyncio.Handle | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    def join(
        self,
        left: socket.socket,
        right: socket.socket,
        on_end: Callable[[SplicedPair], None],
        head: bytes = b"",
    ) -> SplicedPair:
        """Join two tuned sockets, which belong to the pair from now on.

        right receives head before the bytes of left; on_end is called once, when both are closed.
        """
        now = self._loop.time()
        pair = SplicedPair(self._forget, (left, right), on_end, self._pool, head, now)
        out, back = pair.directions
        self._directions[left.fileno()] = (out, back)
        self._directions[right.fileno()] = (back, out)
        self._epoll.register(left.fileno(), EDGES)
        self._epoll.register(right.fileno(), EDGES)
        self._enqueue(out)
        self._enqueue(back)
        self._again = self._again or self._loop.call_soon(self._wake)
        self._sweeper = self._sweeper or self._loop.call_later(self._pause_s(), self._sweep)
        return pair

    def close(self) -> None:
        """Reset every pair and stop."""
        for pair in self._pairs():
            pair.cut()
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._again is not None:
            self._again.cancel()
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        self._pool.close()

    def _wake(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None
        for descriptor, events in self._epoll.poll(0, EVENTS_PER_WAKE):
            directions = self._directions.get(descriptor)
            if directions is not None:
                self._note(*directions, events)
        self._run()

    def _note(self, out: SpliceDirection, into: SpliceDirection, events: int) -> None:
        if events & READABLE:
            out.source_ready = True
            self._enqueue(out)
        if events & WRITABLE and not into.sink_ready:
            into.sink_ready = True
            self._enqueue(into)

    def _run(self) -> None:
        now, budget = self._loop.time(), self._limits.move_bytes
        for _ in range(min(len(self._queue), MOVES_PER_WAKE)):
            direction = self._queue.popleft()
            direction.queued = False
            pair = direction.pair
            if pair.ended:
                continue
            before = pair.moved
            if direction.move(budget):
                self._enqueue(direction)
            if pair.moved != before:
                pair.last_moved = now
            pair.settle()
        if self._queue:
            self._again = self._again or self._loop.call_soon(self._wake)

    def _enqueue(self, direction: SpliceDirection) -> None:
        if not direction.queued:
            direction.queued = True
            self._queue.append(direction)

    def _forget(self, pair: SplicedPair) -> None:
        for direction in pair.directions:
            descriptor = direction.source.fileno()
            del self._directions[descriptor]
            self._epoll.unregister(descriptor)
            direction.release()

    def _sweep(self) -> None:
        now = self._loop.time()
        for pair in self._pairs():
            quiet_s = now - pair.last_moved
            if quiet_s >= self._limits.idle_s:
                pair.cut()
            elif pair.lingering:
                pair.linger_until = pair.linger_until or now + self._limits.linger_s
                if now >= pair.linger_until:
                    pair.finish()
        self._sweeper = None
        if self._directions:
            self._sweeper = self._loop.call_later(self._pause_s(), self._sweep)

    def _pairs(self) -> list[SplicedPair]:
        return list({id(out.pair): out.pair for out, _ in self._directions.values()}.values())

    def _pause_s(self) -> float:
        return min(self._limits.idle_s, self._limits.linger_s) / 4
