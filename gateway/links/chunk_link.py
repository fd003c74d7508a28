"""Serves one chunk port: one session after another, each with a connection to the broker.

A device that begins a new session ends the one before: it has restarted, or lost its link. Numbers
of sessions that have ended are remembered for a while, so that a late copy of an old hello begins
nothing. A chunk of a session that is not known is answered by the end of that session: the device
then begins a new one at once, instead of waiting for acknowledgements.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.links.keys import LinkKey
from gateway.links.pipe import BrokerPipe
from gateway.links.ports import ChunkPort, LinkClosedError
from gateway.links.refusals import RefusalLimiter
from gateway.links.session import ChunkSession, ChunkSessionState
from protocol.chunks.records import NONCE_BYTES, VERSION
from protocol.chunks.wire import SESSIONS, Chunk, SessionEnd, decode_chunk, decode_end, encode_end

logger = logging.getLogger(__name__)

REMEMBERED_SESSIONS = 4
LOGGED_REFUSALS = (1, 10, 100, 1000, 10_000)  # of one link
PARK_S = 4.0  # for the rest of a packet, and for what is queued for the device
WRITE_S = 20.0  # one chunk waits so long for the link at most


@dataclass(frozen=True, slots=True)
class LinkServices:
    """The functions of other parts that a link uses."""

    now: Callable[[], float]
    find_key: Callable[[bytes], LinkKey | None]
    adopt: Callable[[socket.socket, str, str], Awaitable[bool]]  # with the peer and the proved name
    on_proved: Callable[["ChunkLink"], None]


@dataclass(slots=True)
class ChunkCounters:
    """Counts the events of one link."""

    chunks_received: int = 0
    chunks_sent: int = 0
    spoiled: int = 0
    held_back: int = 0  # dropped because the broker took nothing
    sessions: int = 0
    refused: int = 0


@dataclass(slots=True)
class _Serving:
    """A session and its connection to the broker."""

    session: ChunkSession
    pipe: BrokerPipe
    task: asyncio.Task[None] | None = None


class ChunkLink:
    """One link, while it stands."""

    def __init__(self, port: ChunkPort, services: LinkServices, refusals: RefusalLimiter) -> None:
        self.counters = ChunkCounters()
        self._port, self._services, self._refusals = port, services, refusals
        self._serving: _Serving | None = None
        self._ended: deque[int] = deque(maxlen=REMEMBERED_SESSIONS)
        self._answers: deque[bytes] = deque(maxlen=REMEMBERED_SESSIONS)
        self._wake = asyncio.Event()
        self._without_session = asyncio.Event()
        self._is_parking = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        """The name of the link."""
        return self._port.name

    @property
    def proved(self) -> str:
        """The name that the peer has proved; "" for none."""
        return self._serving.session.proved if self._serving is not None else ""

    @property
    def state(self) -> ChunkSessionState | None:
        """The state of the session; None without one."""
        return self._serving.session.state if self._serving is not None else None

    async def run(self) -> str:
        """Serve until the link ends; return why it did."""
        why = ""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read())
                tasks.create_task(self._send())
        except* LinkClosedError as group:
            why = str(group.exceptions[0])
        finally:
            self.end_session(why or "the link has ended", tell=False)
            await self._port.close()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        return why

    async def park(self) -> bool:
        """End the session and the link in an orderly way, so that the device can come back later.

        What was queued for the device still arrives, as far as it takes it soon; the broker stores
        its session. Returns whether it did: the device may be in the middle of a packet.
        """
        serving, self._is_parking = self._serving, True
        has_left = False
        if serving is not None and serving.session.state is ChunkSessionState.OPEN:
            self._without_session.clear()
            serving.pipe.leave()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PARK_S):
                    await self._without_session.wait()
            has_left = serving.pipe.has_left
        await self._port.close()
        return has_left

    def end_session(self, why: str, *, tell: bool = True) -> None:
        """End the session, if there is one."""
        serving = self._serving
        if serving is not None:
            serving.session.end(why, tell=tell)
            self._look()

    async def _read(self) -> None:
        while True:
            chunk = await self._port.read()
            self.counters.chunks_received += 1
            self._take(chunk)
            self._wake.set()

    async def _send(self) -> None:
        while True:
            self._wake.clear()
            for chunk in self._take_output():
                self.counters.chunks_sent += 1
                try:
                    async with asyncio.timeout(WRITE_S):
                        await self._port.write(chunk)
                except TimeoutError:
                    raise LinkClosedError(f"it takes nothing for {WRITE_S:.0f} s") from None
            due = self._serving.session.next_due() if self._serving is not None else None
            pause_s = None if due is None else max(due - self._services.now(), 0.0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()

    def _take_output(self) -> list[bytes]:
        chunks = list(self._answers)
        self._answers.clear()
        if self._serving is not None:
            chunks += self._serving.session.poll(self._services.now())
            self._look()
        return chunks

    def _take(self, octets: bytes) -> None:
        chunk, serving = decode_chunk(octets), self._serving
        if chunk is None:
            self.counters.spoiled += 1
        elif serving is not None and chunk.session == serving.session.number:
            if serving.session.is_contradicted_by(chunk):
                self.end_session("the device began another one with the same number")
            else:
                self._take_in_session(serving, octets)
        elif end := decode_end(chunk):
            if serving is not None and end[0] == serving.session.number:
                self.end_session("the device closed it", tell=False)
        elif chunk.session in SESSIONS:
            self._take_stranger(chunk, octets)

    def _take_in_session(self, serving: _Serving, octets: bytes) -> None:
        session, pipe = serving.session, serving.pipe
        takes_data = pipe.takes_data
        self.counters.held_back += not takes_data
        data = session.receive(octets, takes_data=takes_data)
        if data:
            pipe.feed(data)
        if session.state is ChunkSessionState.OPEN and serving.task is None:
            self._open(serving)
        pipe.note_room()
        self._look()

    def _take_stranger(self, chunk: Chunk, octets: bytes) -> None:
        """Begin a session, or end one that is not known."""
        if not _is_hello(chunk) or chunk.session in self._ended:
            self._answers.append(encode_end(chunk.session, SessionEnd.UNKNOWN))
            return
        now = self._services.now()
        if self._is_parking or not self._refusals.may_try(self.name, now):
            return
        self.end_session("the device began another one", tell=False)
        session = ChunkSession(
            chunk.session,
            self._port.chunk_bytes,
            os.urandom(NONCE_BYTES),
            self._services.find_key,
            now,
        )
        self.counters.sessions += 1
        self._serving = _Serving(session, BrokerPipe(session, self._wake.set))
        self._take_in_session(self._serving, octets)

    def _open(self, serving: _Serving) -> None:
        self._refusals.forgive(self.name)
        serving.task = asyncio.create_task(self._carry(serving))
        self._tasks.add(serving.task)
        serving.task.add_done_callback(self._tasks.discard)
        self._services.on_proved(self)

    async def _carry(self, serving: _Serving) -> None:
        session = serving.session
        proved = session.proved

        async def adopt(end: socket.socket) -> bool:
            return await self._services.adopt(end, self.name, proved)

        why = await serving.pipe.run(adopt)
        logger.debug("%s: %s", self.name, why)
        session.close(self._services.now())
        self._wake.set()

    def _look(self) -> None:
        """Let a session go that has ended."""
        serving = self._serving
        if serving is None or serving.session.state is not ChunkSessionState.ENDED:
            return
        session = serving.session
        self._answers.extend(session.poll(self._services.now()))
        self._serving = None
        self._without_session.set()
        self._ended.append(session.number)
        self.counters.spoiled += session.spoiled
        if serving.task is not None:
            serving.task.cancel()
        elif session.reason is SessionEnd.REFUSED:
            self.counters.refused += 1
            self._refusals.refuse(self.name, self._services.now())
            if self.counters.refused in LOGGED_REFUSALS:
                logger.warning(
                    "%s: a device without a good key, %d times: was it revoked, or is its claim "
                    "token used up? `hecate devices provision --rejoin` gives it a new one",
                    self.name, self.counters.refused,
                )  # fmt: skip
        logger.debug("%s: session %d ended: %s", self.name, session.number, session.why_ended)
        self._wake.set()


def _is_hello(chunk: Chunk) -> bool:
    return chunk.offset == 0 and chunk.data[:1] == bytes((VERSION,))
