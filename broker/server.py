"""Listeners and connections: the only asyncio of the broker."""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Awaitable, Coroutine, Sequence
from pathlib import Path
from typing import Self

from broker.acceptor import Acceptor
from broker.arrivals import Arrivals
from broker.client import Client
from broker.connection import READ_BYTES, Connection
from broker.core import Core
from broker.counters import Counters
from broker.errors import BrokerError
from broker.hooks import Hooks
from broker.journal import Journal, JournalStatus
from broker.limits import Limits
from broker.listening import Listener, bind_tcp, bind_unix, read_networks, reason_of, write_address
from broker.local import LocalClient
from broker.policy import (
    Authenticator,
    Authorizer,
    Credentials,
    EnhancedAuthenticator,
    Exchange,
    Identity,
    Refusal,
    Step,
)
from broker.pressure import Pressure
from broker.streams import HAS_EPOLL, Poller
from broker.sys_topics import SYS_INTERVAL_S, Reporting

__all__ = ["Broker", "Listener"]

logger = logging.getLogger(__name__)

Address = tuple[str, int] | Path

TICK_S = 1.0  # exact enough for keep-alives in seconds
FLUSH_BYTES = 65_536  # of input after which output is written at once, to keep the peak low
STOP_S = 1.0  # for clients to take their last packet
BOOT_ID, BOOT_ID_CHARACTERS = Path("/proc/sys/kernel/random/boot_id"), 64  # of Linux
KEPT_BYTES = 1_048_576  # free memory, of which twice as much is not given back to the system


class Broker:
    """An MQTT broker within this process."""

    def __init__(
        self,
        listeners: Sequence[Listener],
        authenticator: Authenticator,
        authorizer: Authorizer,
        limits: Limits | None = None,
        *,
        store: Journal | None = None,  # None: everything is in memory
        sys_interval_s: float = SYS_INTERVAL_S,  # between two reports in $SYS topics; 0: none
    ) -> None:
        self._listeners = tuple(listeners)
        self._authenticator = authenticator
        self._limits = limits or Limits()
        self._store = store
        self._core = Core(
            authorizer,
            self._limits,
            self._wake,
            store,
            reporting=Reporting(sys_interval_s, _read_version()) if sys_interval_s else None,
        )
        self._acceptors: list[Acceptor] = []
        self._bound: list[tuple[Address, ...]] = []
        self._connections: set[Connection] = set()
        self._named: dict[str, set[Connection]] = {}  # those that were online, by identity
        self._loop: asyncio.AbstractEventLoop | None = None
        self._poller: Poller | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._last_closed: asyncio.Event | None = None  # while it stops
        self._is_woken = False
        self._read_bytes = 0
        self.read_buffer = memoryview(bytearray(READ_BYTES))
        self.pressure = Pressure(self._limits)

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where it really listens, once started: one for each listener, in their order."""
        return tuple(each[0] for each in self._bound)

    @property
    def all_addresses(self) -> tuple[tuple[Address, ...], ...]:
        """All of each listener: a name of a host may stand for several, and "" does."""
        return tuple(self._bound)

    @property
    def counters(self) -> Counters:
        """What happened so far."""
        return self._core.counters

    @property
    def store(self) -> JournalStatus | None:
        """What is stored, and how; None when everything is in memory."""
        return self._store.status() if self._store is not None else None

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
        """Take what is stored and listen everywhere, or raise BrokerError and do nothing."""
        self._loop = asyncio.get_running_loop()
        # speed: glibc takes the largest block it has unmapped as the measure of what to keep; what
        # it gives back after each large read costs page faults in the next, see benchmarks/,
        # tls_16kib: 7 for each message, a third of the time
        bytes(KEPT_BYTES)
        if self._store is not None:
            await self._open(self._store)
        commit = self._commit if self._store is not None else None
        self._poller = Poller(self._loop, commit) if HAS_EPOLL else None
        arrivals = Arrivals(self._limits, self.counters)
        trusted = [read_networks(listener) for listener in self._listeners]
        for listener, proxies in zip(self._listeners, trusted, strict=True):
            try:
                sockets = await self._bind(self._loop, listener)
            except OSError as exc:
                await self.stop()
                raise BrokerError(f"cannot listen on {listener}: {reason_of(exc)}") from exc
            acceptor = Acceptor(self, listener, sockets, proxies, arrivals, self._poller)
            self._acceptors.append(acceptor)
        for acceptor in self._acceptors:
            acceptor.start()
        self._ticker = self._loop.call_later(TICK_S, self._tick)
        for listener, bound in zip(self._listeners, self._bound, strict=True):
            where = ", ".join(
                str(each) if isinstance(each, Path) else write_address(*each) for each in bound
            )
            name = "" if listener.name == where else f" ({listener.name})"
            logger.info("listening on %s%s", where, name)

    async def stop(self) -> None:
        """Say good-bye to all clients and close."""
        for acceptor in self._acceptors:
            await acceptor.stop()
        if self._ticker is not None:
            self._ticker.cancel()
        self._core.shut_down(self.now())
        self.flush()
        await self._wait_for_connections()
        for connection in tuple(self._connections):
            connection.abort()
        await self._wait_for_connections()
        if self._poller is not None:
            self._poller.close()
            self._poller = None
        for address in self.addresses:
            if isinstance(address, Path):
                address.unlink(missing_ok=True)
        self._acceptors.clear()
        self._bound.clear()
        if self._store is not None:
            await self._store.close()

    @property
    def hooks(self) -> Hooks:
        """What the embedding program is asked: connect, publish, subscribe, disconnect."""
        return self._core.hooks

    def local_client(self, name: str) -> LocalClient:
        """Return a client within this process; the authorizer does not apply to it."""
        return LocalClient(self._core, name, self.now)

    def disconnect(self, name: str) -> int:
        """Cut every connection of an identity and forget its sessions; return how many were cut."""
        return self._core.disconnect(name, self.now())

    def cut(self, name: str) -> int:
        """Cut every connection of an identity, which may come back to its sessions."""
        return self._core.cut(name, self.now())

    def revoke(self, name: str) -> int:
        """Disconnect an identity that is no more, and forget what it left retained as well."""
        return self._core.revoke(name, self.now())

    def rights_changed(self) -> None:
        """Ask the authorizer again about everything, stored subscriptions included."""
        self._core.rights_changed()

    def connected(self) -> frozenset[str]:
        """Return the identity names connected now."""
        return self._core.connected()

    def is_connected(self, name: str) -> bool:
        """Return whether an identity is connected now."""
        return any(each.is_online for each in self._named.get(name, ()))

    def has_room(self, client_id: str, size_bytes: int) -> bool:
        """Return whether a session takes one more message of QoS 1; True when there is none."""
        return self._core.has_room(client_id, size_bytes, self.now())

    def now(self) -> float:
        """Return the loop's time; 0 before the start."""
        return self._loop.time() if self._loop is not None else 0.0

    # -- for connections -------------------------------------------------------------------

    def receive(self, client: Client, data: bytes) -> None:
        """Take what one read brought; write now, or once all ready sockets were read."""
        self._core.receive(client, data, self.now())
        self._received(len(data))

    def grow(self, client: Client, size: int) -> None:
        """Take what one read brought into the client's room."""
        self._core.grow(client, size, self.now())
        self._received(size)

    def _received(self, size: int) -> None:
        self._read_bytes += size
        if self._read_bytes >= FLUSH_BYTES:
            self.flush()
        elif not self._is_woken and self._core.has_output:
            # speed: one write per client for all sockets that were ready, see benchmarks/
            self._wake()

    def flush(self) -> None:
        """Write what there is for everybody."""
        self._read_bytes = 0
        self._core.write_all(self.now(), in_between=True)
        if self._core.has_output:
            self._wake()

    def _flush_once(self) -> None:
        """Do the same once per wake-up, after which everybody may have turns again."""
        self._is_woken = False
        self._read_bytes = 0
        self._core.write_all(self.now())
        if self._core.has_output:  # retained messages go a piece at a time
            self._wake()

    def note(self, connection: Connection) -> None:
        """A connection is open."""
        self._connections.add(connection)

    def note_online(self, connection: Connection, name: str) -> None:
        """A connection's client is in."""
        self._named.setdefault(name, set()).add(connection)

    def forget(self, connection: Connection, name: str) -> None:
        """A connection is closed; the name is what its client was called, if it was in."""
        self._connections.discard(connection)
        if self._last_closed is not None and not self._connections:
            self._last_closed.set()
        self.pressure.forget(connection)
        named = self._named.get(name)
        if named is not None:
            named.discard(connection)
            if not named:
                del self._named[name]

    def authenticate(
        self, client: Client, credentials: Credentials
    ) -> Coroutine[None, None, None] | None:
        """Ask the authenticator and carry its answer out; if it waits, return what does so."""
        try:
            answer = self._authenticator.authenticate(credentials)
        except Exception as exc:  # noqa: BLE001  # told there
            answer = self._fail(client, credentials, exc)
        if not isinstance(answer, Identity | Refusal):
            return self._decide_later(client, credentials, answer)
        self._core.decide(client, answer, self.now())
        return None

    def begin(self, method: str, credentials: Credentials) -> Exchange | None:
        """Return a new run of an authentication method, None when nobody knows it."""
        authenticator = self._authenticator
        if not isinstance(authenticator, EnhancedAuthenticator):
            return None
        return authenticator.begin(method, credentials)

    async def proceed(self, client: Client, exchange: Exchange | None, data: bytes | None) -> None:
        """Take a step of an authentication method and carry its answer out."""
        outcome: Step = Refusal.BAD_AUTHENTICATION_METHOD  # [MQTT-4.12.0-1]
        if exchange is not None:
            try:
                outcome = await exchange.step(data)
            except Exception:
                logger.exception("cannot authenticate a client from %r", client.peer)
                outcome = Refusal.SERVER_UNAVAILABLE
        self._core.decide(client, outcome, self.now())
        self._wake()

    async def _decide_later(
        self, client: Client, credentials: Credentials, answer: Awaitable[Identity | Refusal]
    ) -> None:
        try:
            outcome = await answer
        except Exception as exc:  # noqa: BLE001  # told there
            outcome = self._fail(client, credentials, exc)
        self._core.decide(client, outcome, self.now())
        self._wake()  # speed: one flush for all that come at once

    def _fail(self, client: Client, credentials: Credentials, error: Exception) -> Refusal:
        if self._core.story.may_tell(client.peer, "cannot_authenticate"):
            logger.error("cannot authenticate %r", credentials.client_id, exc_info=error)
        return Refusal.SERVER_UNAVAILABLE

    @property
    def core(self) -> Core:
        """The broker without sockets."""
        return self._core

    @property
    def limits(self) -> Limits:
        """What one client, and all together, may use."""
        return self._limits

    async def _open(self, store: Journal) -> None:
        image, report = await asyncio.to_thread(store.open)
        self.counters.store_damages = report.faults
        boot = await asyncio.to_thread(_read_boot)
        self._core.restore(image, self.now(), time.time(), boot)
        store.start()
        self._core.tick(self.now())  # wills that are due, sessions that are over

    async def _wait_for_connections(self) -> None:
        if self._connections:
            self._last_closed = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._last_closed.wait(), STOP_S)

    async def _bind(
        self, loop: asyncio.AbstractEventLoop, listener: Listener
    ) -> list[socket.socket]:
        if listener.path is not None:
            sockets = [bind_unix(listener.path)]
            self._bound.append((listener.path,))
            return sockets
        found = await loop.getaddrinfo(
            listener.host or None,
            listener.port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )
        hosts = dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found)
        sockets = bind_tcp(list(hosts), listener.port)
        self._bound.append(tuple(each.getsockname()[:2] for each in sockets))
        return sockets

    def _commit(self) -> bool:
        assert self._store is not None  # else nobody calls
        self._core.write_down()
        return self._store.commit()

    def _tick(self) -> None:
        assert self._loop is not None  # it calls
        self._ticker = self._loop.call_later(TICK_S, self._tick)
        self._core.note_wall(self.now(), time.time())
        self._core.tick(self.now())
        self._core.end_expired(time.time(), self.now())
        self.flush()

    def _wake(self) -> None:
        if self._loop is not None and not self._is_woken and not self._loop.is_closed():
            self._is_woken = True
            (self._poller or self._loop).call_soon(self._flush_once)


def _read_boot() -> str:
    """Return what names this start of the machine, since which the loop counts; "" elsewhere."""
    try:
        return BOOT_ID.read_text().strip()[:BOOT_ID_CHARACTERS]
    except OSError:
        return ""


def _read_version() -> str:
    from importlib import metadata  # 1 MiB that only $SYS topics need

    try:
        return f"hecate version {metadata.version('hecate-gateway')}"
    except metadata.PackageNotFoundError:  # run from a folder
        return "hecate"
