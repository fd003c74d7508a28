"""Accepts the connections of one listener: limits, PROXY header, TLS."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import traceback
from functools import partial
from socket import SHUT_RDWR
from typing import TYPE_CHECKING

from broker.net.connection import ClientConnection, EitherConnection, WebSocketClientConnection
from broker.net.listeners import Network, is_within, reason_of
from broker.net.proxy_protocol import decode_header, measure_header
from broker.net.tls_handshake import HandshakeQueue
from broker.quota.connection_limiter import ListenerQuota
from broker.wire.errors import RemoteProtocolError

if TYPE_CHECKING:
    import socket

    from broker.net.hub import Hub
    from broker.net.listeners import Listener
    from broker.net.transport import Poller
    from broker.quota.connection_limiter import ConnectionLimiter, ConnectionSlot

logger = logging.getLogger(__name__)

AT_ONCE = 16  # accepted in one turn of the loop; each costs 0.1 ms
AT_ONCE_TLS = 4  # each brings a handshake of 1 ms
RETRY_S = 1.0  # after running out of file descriptors


class Acceptor:
    """Accepts connections, asks the limiter, reads the PROXY header and begins TLS."""

    def __init__(
        self,
        hub: Hub,
        listener: Listener,
        sockets: list[socket.socket],
        proxies: tuple[Network, ...],
        connection_limiter: ConnectionLimiter,
        poller: Poller | None,
    ) -> None:
        self._hub = hub
        self._listener = listener
        self._sockets = sockets
        self._connection_limiter = connection_limiter
        self._poller = poller
        self._listener_quota = ListenerQuota(listener.connections)
        self._proxies = proxies
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._retry: asyncio.TimerHandle | None = None
        self._at_once = AT_ONCE if listener.tls is None else AT_ONCE_TLS
        self._handshakes: HandshakeQueue | None = None
        if poller is not None and listener.tls is not None:
            self._handshakes = HandshakeQueue(poller, listener.tls, hub.limits.connect_timeout_s)

    def start(self) -> None:
        """Accept connections."""
        for listening in self._sockets:
            listening.setblocking(False)
            self._loop.add_reader(listening, self._accept, listening)

    async def stop(self) -> None:
        """Accept no more, and close connections that have not begun MQTT."""
        if self._retry is not None:
            self._retry.cancel()
        for listening in self._sockets:
            self._loop.remove_reader(listening)
            listening.close()
        if self._handshakes is not None:
            self._handshakes.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(self._at_once):  # further ones wake the loop again
            try:
                accepted, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exc:
                # the connections stay with the kernel; without a pause the loop would spin
                if self._hub.core.log_limiter.may_log(self._listener.name, "cannot_accept"):
                    logger.error("cannot accept on %s: %s", self._listener, reason_of(exc))  # noqa: TRY400
                self._loop.remove_reader(listening)
                self._retry = self._loop.call_later(RETRY_S, self.start)
                return
            self._arrive(accepted, address[0] if isinstance(address, tuple) else "")

    def _arrive(self, accepted: socket.socket, peer: str) -> None:
        counters = self._hub.counters
        if self._proxies and not is_within(peer, self._proxies):
            counters.refuse("proxy_not_trusted")
            self._tell(peer, "proxy_not_trusted", "no trusted proxy")
            accepted.close()
            return
        # a proxy's client is counted once the header names it
        known = "" if self._proxies else peer
        cut = partial(_hang_up, accepted)
        place = self._connection_limiter.enter(known, self._loop.time(), self._listener_quota, cut)
        if place is None:
            self._tell(peer, "too_many", "a limit of connections is reached")
            accepted.close()
            return
        if self._poller is not None and not self._proxies:
            self._open(self._poller, accepted, peer, place)
            return
        accepted.setblocking(False)
        task = self._loop.create_task(self._begin(accepted, peer, place))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _open(
        self, poller: Poller, accepted: socket.socket, peer: str, place: ConnectionSlot
    ) -> None:
        if self._handshakes is None:
            poller.open(accepted, self._make_connection(peer, place))
            return
        make = partial(self._make_connection, peer, place)
        self._handshakes.enter(accepted, make, partial(self._end_handshake, peer, place))

    async def _begin(self, accepted: socket.socket, peer: str, place: ConnectionSlot) -> None:
        if self._proxies:
            said = await self._read_header(accepted, peer, place)
            if said is None:
                return
            peer, place = said
        try:
            await self._connect(accepted, peer, place)
        except OSError as exc:
            self._end_handshake(peer, place, exc)
            # asyncio's frames hold the error that holds them, with 100 KB of OpenSSL's
            traceback.clear_frames(exc.__traceback__)
        except BaseException:
            place.give_back()
            raise

    async def _connect(self, accepted: socket.socket, peer: str, place: ConnectionSlot) -> None:
        if self._poller is not None:
            self._open(self._poller, accepted, peer, place)
            return
        limits, tls = self._hub.limits, self._listener.tls
        await self._loop.connect_accepted_socket(
            partial(self._make_connection, peer, place),
            accepted,
            ssl=tls,
            ssl_handshake_timeout=limits.connect_timeout_s if tls else None,
            ssl_shutdown_timeout=limits.close_timeout_s if tls else None,
        )

    def _end_handshake(self, peer: str, place: ConnectionSlot, error: OSError | None) -> None:
        if error is not None:
            self._hub.counters.refuse("tls_handshake")
            self._tell(peer, "tls_handshake", f"TLS: {_tls_reason(error)}")
        place.give_back()

    def _make_connection(self, peer: str, place: ConnectionSlot) -> ClientConnection:
        kind = ClientConnection
        if self._listener.websocket:
            kind = EitherConnection if self._listener.plain_too else WebSocketClientConnection
        return kind(self._hub, self._listener, peer, place)

    async def _read_header(
        self, accepted: socket.socket, peer: str, place: ConnectionSlot
    ) -> tuple[str, ConnectionSlot] | None:
        """Return the client that a proxy names, and its admission; None if it is refused."""
        allowed = None
        try:
            async with asyncio.timeout(self._hub.limits.connect_timeout_s):
                said = decode_header(await self._receive_header(accepted))
            place.give_back()
            peer = peer if said is None else said
            cut = partial(_hang_up, accepted)
            allowed = self._connection_limiter.enter(
                said or "", self._loop.time(), self._listener_quota, cut
            )
        except (RemoteProtocolError, OSError) as exc:  # a timeout is an OSError
            self._hub.counters.refuse("proxy_header")
            self._tell(peer, "proxy_header", str(exc) or "timeout")
        finally:
            place.give_back()
            if allowed is None:
                accepted.close()
        return None if allowed is None else (peer, allowed)

    def _tell(self, peer: str, kind: str, why: str) -> None:
        if self._hub.core.log_limiter.may_log(peer, kind):
            where = (peer or "this machine", self._listener.name)
            logger.info("refused %s on %s: %s", *where, why)

    async def _receive_header(self, accepted: socket.socket) -> bytes:
        header = b""
        while missing := measure_header(header):
            received = await self._loop.sock_recv(accepted, missing)
            if not received:
                raise RemoteProtocolError("the stream ends in a PROXY header")
            header += received
        return header


def _hang_up(accepted: socket.socket) -> None:
    """Shut a connection down; its owner then reads the end."""
    with contextlib.suppress(OSError):  # it has ended
        accepted.shutdown(SHUT_RDWR)


def _tls_reason(error: OSError) -> str:
    words = error.reason if isinstance(error, ssl.SSLError) else ""
    return words.lower().replace("_", " ") or str(error)
