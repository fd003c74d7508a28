"""Accepts connections and identifies each, within bounds of number, bytes and time."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from cloud.relay.errors import RelayError
from cloud.relay.limits import RelayLimits
from protocol.errors import WireError
from protocol.preface import Preface, PrefaceRole, Visit, sniff
from protocol.splice import accept_tls, cut, tune

BACKLOG = 1024
ACCEPTS_PER_WAKE = 64
PAUSE_S = 1.0  # after an accept() that has found no free file descriptor
READ_BYTES = 4096
TLS_HANDSHAKE = 0x16  # RFC 8446, 5.1: the first byte of a ClientHello

logger = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class AcceptedPeer:
    """A connection, and the bytes read from it that are not used yet."""

    sock: socket.socket
    received: bytes = b""
    role: PrefaceRole | None = None  # None: a visitor
    name: str = ""  # for the log

    def append(self, data: bytes) -> None:
        """Keep bytes that were read."""
        self.received += data

    def take(self, size: int | None = None) -> bytes:
        """Return the first bytes, or all, and keep the rest."""
        taken = self.received[:size]
        self.received = self.received[len(taken) :]
        return taken

    def identify(self, role: PrefaceRole, name: str) -> None:
        """Record the role that a preface has claimed with a valid token."""
        self.role, self.name = role, name

    def begin_tls(self, plain: socket.socket) -> None:
        """Replace the socket with the plain side of its TLS connection."""
        self.sock = plain


class RelayAcceptor:
    """One listening socket.

    on_identified gets every connection with a preface or a visit, on_unknown every connection that
    sent other bytes; both own it then. Silent and broken connections are closed here.
    """

    def __init__(
        self,
        limits: RelayLimits,
        on_identified: Callable[[AcceptedPeer, Preface | Visit], None],
        on_unknown: Callable[[AcceptedPeer], None],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._tls = tls
        self._limits, self._on_identified, self._on_unknown = limits, on_identified, on_unknown
        self._loop = asyncio.get_running_loop()
        self._unidentified: dict[socket.socket, asyncio.Task[None]] = {}  # oldest first
        self._cancelled: set[asyncio.Task[None]] = set()  # cancelled, and not ended yet
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
        await asyncio.gather(*self._cancelled, return_exceptions=True)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_WAKE):
            if self._listener is None:
                return
            try:
                sock, _address = self._listener.accept()
            except BlockingIOError:
                return
            except ConnectionError:
                continue  # the peer closed it in the queue
            except OSError as exc:
                logger.warning("cannot accept connections for %g s: %s", PAUSE_S, exc)
                self._loop.remove_reader(self._listener.fileno())
                self._loop.call_later(PAUSE_S, self._resume)
                return
            self._start_to_identify(sock)

    def _resume(self) -> None:
        if self._listener is not None:
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def _start_to_identify(self, sock: socket.socket) -> None:
        tune(sock)
        if len(self._unidentified) >= self._limits.unidentified:
            # Honest peers send their first bytes at once: the oldest is the least likely to be one.
            self._drop_oldest()
        task = self._loop.create_task(self._identify(sock), name="identify")
        self._unidentified[sock] = task
        task.add_done_callback(partial(self._forget, sock))

    def _drop_oldest(self) -> None:
        """Cancel the oldest; it no longer counts, so that the next call cancels another."""
        sock = next(iter(self._unidentified))
        task = self._unidentified.pop(sock)
        self._cancelled.add(task)
        task.cancel()

    def _forget(self, sock: socket.socket, task: asyncio.Task[None]) -> None:
        self._unidentified.pop(sock, None)
        self._cancelled.discard(task)
        if task.cancelled():  # perhaps before its first step, so that it could not close the socket
            cut(sock)

    async def _identify(self, sock: socket.socket) -> None:
        peer = AcceptedPeer(sock)
        try:
            async with asyncio.timeout(self._limits.identify_s):
                if self._tls is not None:
                    await self._begin_tls(peer, self._tls)
                first = await self._read_first(peer)
        except WireError as exc:
            logger.debug("%s", exc)
            self._on_unknown(peer)
        except (OSError, TimeoutError) as exc:
            logger.debug("cannot identify connection: %s", type(exc).__name__)
            cut(peer.sock)
        except asyncio.CancelledError:
            cut(peer.sock)  # with TLS it is no longer the socket that _forget() has
            raise
        else:
            self._on_identified(peer, first)

    async def _begin_tls(self, peer: AcceptedPeer, tls: ssl.SSLContext) -> None:
        """Replace the TLS connection with a plain socket; refuse a peer that begins without TLS."""
        data = await self._loop.sock_recv(peer.sock, READ_BYTES)
        if not data:
            raise ConnectionAbortedError
        if data[0] != TLS_HANDSHAKE:
            peer.append(data)
            raise WireError("cannot serve connection: this relay requires TLS")
        peer.begin_tls(await accept_tls(peer.sock, tls, data))

    async def _read_first(self, peer: AcceptedPeer) -> Preface | Visit:
        while True:
            data = await self._loop.sock_recv(peer.sock, READ_BYTES)
            if not data:
                raise ConnectionAbortedError
            peer.append(data)
            first = sniff(peer.received)
            if first is not None:
                return first
