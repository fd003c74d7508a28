"""Listeners and connections: the only asyncio of the broker."""

import asyncio
import errno
import logging
import os
import socket
import ssl
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

from broker.client import Client
from broker.core import Core
from broker.counters import Counters
from broker.errors import BrokerError
from broker.limits import Limits
from broker.local import LocalClient
from broker.policy import Authenticator, Authorizer, Credentials, Refusal

logger = logging.getLogger(__name__)

TICK_S = 1.0  # exact enough for keep-alives in seconds
BACKLOG = 1024  # connections the kernel may hold for us: a power cut brings all devices at once
FLUSH_BYTES = 65_536  # of input after which output is written at once, to keep the peak low
SOCKET_MODE = stat.S_IRUSR | stat.S_IWUSR
STOP_S = 1.0  # for clients to take their last packet


@dataclass(frozen=True, slots=True)
class Listener:
    """One place to listen; authenticators see its name. A path means a Unix socket."""

    host: str = "127.0.0.1"
    port: int = 1883
    path: Path | None = None
    tls: ssl.SSLContext | None = None
    name: str = "tcp"

    def __str__(self) -> str:
        return str(self.path) if self.path is not None else f"{self.host}:{self.port}"


class Broker:
    """An MQTT broker within this process."""

    def __init__(
        self,
        listeners: Sequence[Listener],
        authenticator: Authenticator,
        authorizer: Authorizer,
        limits: Limits | None = None,
    ) -> None:
        self._listeners = tuple(listeners)
        self._authenticator = authenticator
        self._limits = limits or Limits()
        self._core = Core(authorizer, self._limits, self._wake)
        self._servers: list[asyncio.Server] = []
        self._addresses: list[tuple[str, int] | Path] = []
        self._connections: set[_Connection] = set()
        self._backed_up: set[_Connection] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._is_woken = False
        self._read_bytes = 0

    @property
    def addresses(self) -> tuple[tuple[str, int] | Path, ...]:
        """Where it really listens, once started, in the order of the listeners."""
        return tuple(self._addresses)

    @property
    def counters(self) -> Counters:
        """What happened so far."""
        return self._core.counters

    @property
    def unread_bytes(self) -> int:
        """What is kept for peers that have not taken it yet."""
        return sum(each.unread_bytes for each in self._connections)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen everywhere, or raise BrokerError and listen nowhere."""
        self._loop = asyncio.get_running_loop()
        for listener in self._listeners:
            try:
                self._servers.append(await self._listen(self._loop, listener))
            except OSError as exc:
                await self.stop()
                raise BrokerError(f"cannot listen on {listener}: {_reason(exc)}") from exc
        self._ticker = self._loop.call_later(TICK_S, self._tick)
        for listener, address in zip(self._listeners, self._addresses, strict=True):
            where = address if isinstance(address, Path) else f"{address[0]}:{address[1]}"
            logger.info("MQTT %s listens on %s", listener.name, where)

    async def stop(self) -> None:
        """Say good-bye to all clients and close."""
        for server in self._servers:
            server.close()
        if self._ticker is not None:
            self._ticker.cancel()
        self._core.shut_down(self.now())
        self.flush()
        if self._connections:
            await asyncio.wait([each.closed for each in self._connections], timeout=STOP_S)
        for connection in tuple(self._connections):
            connection.abort()
        for server in self._servers:
            await server.wait_closed()
        for address in self._addresses:
            if isinstance(address, Path):
                address.unlink(missing_ok=True)
        self._servers.clear()
        self._addresses.clear()

    def local_client(self, name: str) -> LocalClient:
        """Return a client within this process; the authorizer does not apply to it."""
        return LocalClient(self._core, name, self.now)

    def disconnect(self, name: str) -> int:
        """Cut every connection of an identity and forget its sessions; return how many were cut."""
        return self._core.disconnect(name, self.now())

    def rights_changed(self) -> None:
        """Ask the authorizer again about everything, stored subscriptions included."""
        self._core.rights_changed()

    def connected(self) -> frozenset[str]:
        """Return the identity names connected now."""
        return self._core.connected()

    def now(self) -> float:
        """Return the loop's time; 0 before the start."""
        return self._loop.time() if self._loop is not None else 0.0

    # -- for connections -------------------------------------------------------------------

    def receive(self, client: Client, data: bytes) -> None:
        """Take what one read brought; write now, or once all ready sockets were read."""
        loop = self._loop
        assert loop is not None  # it reads
        self._core.receive(client, data, loop.time())
        self._read_bytes += len(data)
        if self._read_bytes >= FLUSH_BYTES:
            self.flush()
        elif not self._is_woken and self._core.has_output:
            # speed: one write per client for all sockets that were ready, see benchmarks/
            self._is_woken = True
            loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what there is for everybody."""
        self._is_woken = False
        self._read_bytes = 0
        self._core.write_all(self.now())
        if self._core.has_output:  # retained messages go a piece at a time
            self._wake()

    def back_up(self, connection: "_Connection") -> None:
        """Note that a peer left bytes unread; beyond the total all who did count as slow."""
        backed_up = self._backed_up
        backed_up.add(connection)
        if len(backed_up) * self._limits.output_bytes <= self._limits.output_bytes_total:
            return
        for each in tuple(backed_up):
            if not each.unread_bytes:
                backed_up.discard(each)
        total = sum(each.unread_bytes for each in backed_up)
        if total > self._limits.output_bytes_total:
            for each in backed_up:
                each.pause()

    def forget(self, connection: "_Connection") -> None:
        """A connection is closed."""
        self._connections.discard(connection)
        self._backed_up.discard(connection)

    async def authenticate(self, client: Client, credentials: Credentials) -> None:
        """Ask the authenticator and carry its answer out."""
        try:
            outcome = await self._authenticator.authenticate(credentials)
        except Exception:
            logger.exception("cannot authenticate %r", credentials.client_id)
            outcome = Refusal.SERVER_UNAVAILABLE
        self._core.decide(client, outcome, self.now())
        self.flush()

    @property
    def core(self) -> Core:
        """The broker without sockets."""
        return self._core

    @property
    def limits(self) -> Limits:
        """What one client, and all together, may use."""
        return self._limits

    async def _listen(self, loop: asyncio.AbstractEventLoop, listener: Listener) -> asyncio.Server:
        def connect() -> _Connection:
            connection = _Connection(self, listener.name)
            self._connections.add(connection)
            return connection

        if listener.path is None:
            server = await loop.create_server(
                connect, listener.host, listener.port, ssl=listener.tls, backlog=BACKLOG
            )
            host, port = server.sockets[0].getsockname()[:2]
            self._addresses.append((host, port))
            return server
        bound = _bind_unix(listener.path)
        try:
            server = await loop.create_unix_server(
                connect, sock=bound, ssl=listener.tls, backlog=BACKLOG
            )
        except BaseException:
            bound.close()
            raise
        self._addresses.append(listener.path)
        return server

    def _tick(self) -> None:
        assert self._loop is not None  # it calls
        self._ticker = self._loop.call_later(TICK_S, self._tick)
        self._core.tick(self.now())
        self.flush()

    def _wake(self) -> None:
        if self._loop is not None and not self._is_woken and not self._loop.is_closed():
            self._is_woken = True
            self._loop.call_soon(self.flush)


class _Connection(asyncio.Protocol):
    """One socket: passes whole read buffers in, and the core's writes out."""

    __slots__ = ("_broker", "_client", "_deciding", "_listener", "_transport", "closed")

    def __init__(self, broker: Broker, listener: str) -> None:
        self._broker = broker
        self._listener = listener
        self._client: Client | None = None
        self._transport: asyncio.Transport | None = None
        self._deciding: asyncio.Task[None] | None = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # -- called by the loop ----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the client in, or turn it away."""
        self._transport = cast("asyncio.Transport", transport)  # TCP, TLS and Unix all are
        address = transport.get_extra_info("peername")
        peer = address[0] if isinstance(address, tuple) else ""
        self._transport.set_write_buffer_limits(high=self._broker.limits.output_bytes)
        broker = self._broker
        self._client = broker.core.open(self, self._listener, peer, broker.now())
        if self._client is None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Handle one read: up to 256 KiB, asyncio's read size."""
        if self._client is not None:
            self._broker.receive(self._client, data)

    def pause_writing(self) -> None:
        """The peer takes less than it is sent."""
        if self._client is not None:
            self._broker.core.pause(self._client)

    def resume_writing(self) -> None:
        """The peer caught up."""
        if self._client is not None and self._transport is not None:
            self._transport.set_write_buffer_limits(high=self._broker.limits.output_bytes)
            self._broker.core.resume(self._client, self._broker.now())
            self._broker.flush()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Tell the core."""
        if self._deciding is not None:
            self._deciding.cancel()
        if self._client is not None:
            self._broker.core.lost(self._client, self._broker.now())
            self._client = None
            self._broker.flush()
        self._broker.forget(self)
        self.closed.set_result(None)

    # -- called by the core ----------------------------------------------------------------

    def write(self, output: bytes) -> None:
        """Send now, or leave it to the transport."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(output)
        if transport.get_write_buffer_size():
            self._broker.back_up(self)

    def set_reading(self, *, wanted: bool) -> None:
        """Go on reading, or stop."""
        if self._transport is None or self._transport.is_closing():
            return
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def close(self) -> None:
        """Close once everything is sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()

    def authenticate(self, credentials: Credentials) -> None:
        """Ask in a task of this connection; connection_lost() ends it."""
        assert self._client is not None  # it asks
        asking = self._broker.authenticate(self._client, credentials)
        self._deciding = asyncio.get_running_loop().create_task(asking)
        self._deciding.add_done_callback(self._decided)

    def _decided(self, _: asyncio.Task[None]) -> None:
        self._deciding = None

    # -- called by the broker --------------------------------------------------------------

    @property
    def unread_bytes(self) -> int:
        """What the transport keeps for the peer."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def pause(self) -> None:
        """Treat the peer as slow until it has read everything."""
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high=0)


def _reason(error: OSError) -> str:
    # asyncio wraps the system's words in its own; a failed look-up of a name has no number there
    if isinstance(error, socket.gaierror) or error.errno is None:
        return (error.strerror or str(error)).lower()
    return os.strerror(error.errno).lower()


def _bind_unix(path: Path) -> socket.socket:
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket():
            _refuse_if_alive(path)
            path.unlink()
        bound.bind(str(path))
        path.chmod(SOCKET_MODE)  # before it listens: until then nobody gets in
    except BaseException:
        bound.close()
        raise
    return bound


def _refuse_if_alive(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return  # left behind by a process that died
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
