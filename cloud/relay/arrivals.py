"""Accepts connections and finds out what each is, within bounds of number, bytes and time."""

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from cloud.relay.errors import RelayError
from cloud.relay.limits import RelayLimits
from protocol.errors import WireError
from protocol.join import cut, tune
from protocol.preface import Preface, Role, Visit, sniff

BACKLOG = 1024
ACCEPTS_PER_WAKE = 64
PAUSE_S = 1.0  # when the process has no file descriptors left
READ_BYTES = 4096

logger = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class Peer:
    """A connection, and the bytes read from it that nobody has taken yet."""

    sock: socket.socket
    received: bytes = b""
    role: Role | None = None  # None: a visitor
    name: str = ""  # for the log


class Arrivals:
    """One listening socket.

    on_arrival gets every connection that said what it is, on_nonsense those that said
    something else; both own it then. The silent and the broken are closed here.
    """

    def __init__(
        self,
        limits: RelayLimits,
        on_arrival: Callable[[Peer, Preface | Visit], None],
        on_nonsense: Callable[[Peer], None],
    ) -> None:
        self._limits, self._on_arrival, self._on_nonsense = limits, on_arrival, on_nonsense
        self._loop = asyncio.get_running_loop()
        self._unidentified: dict[socket.socket, asyncio.Task[None]] = {}  # oldest first
        self._leaving: set[asyncio.Task[None]] = set()  # cancelled, and not ended yet
        self._listener: socket.socket | None = None

    def listen(self, host: str, port: int) -> tuple[str, int]:
        """Start accepting; return the real address."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        except OSError as exc:
            why = exc.strerror or str(exc)
            raise RelayError(f"cannot listen on {host}:{port}: {why.lower()}") from exc
        listener.setblocking(False)
        self._listener = listener
        self._loop.add_reader(listener.fileno(), self._accept)
        address = listener.getsockname()
        return address[0], address[1]

    async def close(self) -> None:
        """Stop accepting; drop the unidentified."""
        if self._listener is not None:
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()
            self._listener = None
        while self._unidentified:
            self._drop_oldest()
        await asyncio.gather(*self._leaving, return_exceptions=True)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_WAKE):
            if self._listener is None:
                return
            try:
                sock, _address = self._listener.accept()
            except BlockingIOError:
                return
            except ConnectionError:
                continue  # it left while it waited
            except OSError as exc:
                logger.warning("cannot accept connections for %g s: %s", PAUSE_S, exc)
                self._loop.remove_reader(self._listener.fileno())
                self._loop.call_later(PAUSE_S, self._resume)
                return
            self._welcome(sock)

    def _resume(self) -> None:
        if self._listener is not None:
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def _welcome(self, sock: socket.socket) -> None:
        tune(sock)
        if len(self._unidentified) >= self._limits.unidentified:
            # Honest peers say at once what they are: the oldest is the least likely to be one.
            self._drop_oldest()
        task = self._loop.create_task(self._identify(sock), name="identify")
        self._unidentified[sock] = task
        task.add_done_callback(partial(self._forget, sock))

    def _drop_oldest(self) -> None:
        """Let go of the one that is silent longest; it counts no more, so the next is another."""
        sock = next(iter(self._unidentified))
        task = self._unidentified.pop(sock)
        self._leaving.add(task)
        task.cancel()

    def _forget(self, sock: socket.socket, task: asyncio.Task[None]) -> None:
        self._unidentified.pop(sock, None)
        self._leaving.discard(task)
        if task.cancelled():  # perhaps before its first step, so that it could do nothing itself
            cut(sock)

    async def _identify(self, sock: socket.socket) -> None:
        peer = Peer(sock)
        try:
            async with asyncio.timeout(self._limits.identify_s):
                first = await self._read_first(peer)
        except WireError as exc:
            logger.debug("%s", exc)
            self._on_nonsense(peer)
        except (OSError, TimeoutError) as exc:
            logger.debug("cannot identify connection: %s", type(exc).__name__)
            cut(sock)
        else:
            self._on_arrival(peer, first)

    async def _read_first(self, peer: Peer) -> Preface | Visit:
        while True:
            data = await self._loop.sock_recv(peer.sock, READ_BYTES)
            if not data:
                raise ConnectionAbortedError
            peer.received += data
            first = sniff(peer.received)
            if first is not None:
                return first
