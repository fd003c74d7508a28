"""Runs a broker on an event loop: listeners, connections, the journal and time."""

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

from broker.administration import QueueStatus
from broker.core import Core
from broker.journal import Journal, JournalStatus
from broker.local_client import LocalClient
from broker.net.acceptor import Acceptor
from broker.net.adopter import Adopter
from broker.net.hub import Hub
from broker.net.listeners import (
    Listener,
    bind_tcp,
    bind_unix,
    read_networks,
    reason_of,
)
from broker.net.transport import HAS_EPOLL, Poller
from broker.policy import Authenticator, Authorizer
from broker.quota.connection_limiter import ConnectionLimiter
from broker.quota.counters import BrokerCounters
from broker.quota.limits import Limits
from broker.routing.hooks import Hooks
from broker.sys_topics import SYS_INTERVAL_S, BrokerGauges, SysTopicSettings
from broker.wire.errors import BrokerError
from settings.addresses import format_address

__all__ = ["Broker", "Listener"]

logger = logging.getLogger(__name__)

Address = tuple[str, int] | Path

TICK_S = 1.0  # exact enough for keep-alives in seconds
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
        self._limits = limits or Limits()
        self._store = store
        self._core = Core(
            authorizer,
            self._limits,
            self._wake,
            store,
            reporting=SysTopicSettings(sys_interval_s, _read_version()) if sys_interval_s else None,
        )
        self._hub = Hub(self._core, self._limits, authenticator, self.now)
        self._acceptors: list[Acceptor] = []
        self._adopter: Adopter | None = None  # while the broker listens
        self._bound: list[tuple[Address, ...]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._poller: Poller | None = None
        self._ticker: asyncio.TimerHandle | None = None

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The bound address of each listener, once started; the first if it has several."""
        return tuple(each[0] for each in self._bound)

    @property
    def all_addresses(self) -> tuple[tuple[Address, ...], ...]:
        """All bound addresses of each listener: a host name may have several, and "" has."""
        return tuple(self._bound)

    @property
    def counters(self) -> BrokerCounters:
        """The counters since the start."""
        return self._core.counters

    @property
    def store(self) -> JournalStatus | None:
        """The status of the journal; None when everything is in memory."""
        return self._store.status() if self._store is not None else None

    @property
    def unread_bytes(self) -> int:
        """The bytes held for peers that have not read them yet."""
        return self._hub.unread_bytes

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Load the journal and listen; after a BrokerError nothing runs."""
        self._loop = asyncio.get_running_loop()
        # speed: glibc keeps free memory up to twice the largest block that it has unmapped; memory
        # that it gives back after each large read costs page faults in the next, see benchmarks/,
        # tls_16kib: 7 for each message, a third of the time
        bytes(KEPT_BYTES)
        if self._store is not None:
            await self._open(self._store)
        commit = self._commit if self._store is not None else None
        self._poller = Poller(self._loop, commit) if HAS_EPOLL else None
        self._hub.start(self._call_soon)
        connection_limiter = ConnectionLimiter(self._limits, self.counters)
        trusted = [read_networks(listener) for listener in self._listeners]
        for listener, proxies in zip(self._listeners, trusted, strict=True):
            try:
                sockets = await self._bind(self._loop, listener)
            except OSError as exc:
                await self.stop()
                raise BrokerError(f"cannot listen on {listener}: {reason_of(exc)}") from exc
            acceptor = Acceptor(
                self._hub, listener, sockets, proxies, connection_limiter, self._poller
            )
            self._acceptors.append(acceptor)
        for acceptor in self._acceptors:
            acceptor.start()
        self._adopter = Adopter(self._hub, connection_limiter, self._poller)
        self._ticker = self._loop.call_later(TICK_S, self._tick)
        for listener, bound in zip(self._listeners, self._bound, strict=True):
            where = ", ".join(
                str(each) if isinstance(each, Path) else format_address(*each) for each in bound
            )
            name = "" if listener.name == where else f" ({listener.name})"
            logger.info("listening on %s%s", where, name)

    async def stop(self) -> None:
        """Say good-bye to all clients and close."""
        self._adopter = None
        for acceptor in self._acceptors:
            await acceptor.stop()
        if self._ticker is not None:
            self._ticker.cancel()
        self._core.shut_down(self.now())
        self._hub.flush()
        await self._hub.wait_until_closed(STOP_S)
        self._hub.abort_all()
        await self._hub.wait_until_closed(STOP_S)
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

    async def adopt(
        self, connected: socket.socket, listener: str, peer: str, proved: str = ""
    ) -> bool:
        """Serve one end of a connection that the embedding program has made.

        Authenticators see the listener's name, the peer, and the name that the embedding program
        has proved of it. The socket is closed, and False returned, when a limit of connections is
        reached or the broker does not run.
        """
        if self._adopter is None:
            connected.close()
            return False
        return await self._adopter.adopt(connected, listener, peer, proved)

    @property
    def hooks(self) -> Hooks:
        """The hooks of the embedding program: connect, publish, subscribe, disconnect."""
        return self._core.hooks

    def local_client(self, name: str) -> LocalClient:
        """Return a client within this process; the authorizer does not apply to it."""
        return LocalClient(self._core, name, self.now)

    def disconnect(self, name: str) -> int:
        """Cut every connection of an identity and forget its sessions; return how many were cut."""
        return self._core.admin.disconnect(name, self.now())

    def cut(self, name: str) -> int:
        """Cut every connection of an identity, which may come back to its sessions."""
        return self._core.admin.cut(name, self.now())

    def revoke(self, name: str) -> int:
        """Disconnect an identity that is no more, and forget what it left retained as well."""
        return self._core.admin.revoke(name, self.now())

    def rights_changed(self) -> None:
        """Ask the authorizer again about everything, stored subscriptions included."""
        self._core.admin.rights_changed()

    @property
    def limits(self) -> Limits:
        """The limits per client and in total."""
        return self._limits

    def count(self) -> BrokerGauges:
        """Count sessions and messages as they are now; call it on the broker's loop."""
        return self._core.admin.count()

    def connected(self) -> frozenset[str]:
        """Return the identity names connected now."""
        return self._core.admin.connected()

    def queue(self, client_id: str) -> QueueStatus | None:
        """Return the status of a session's messages; None when there is no session."""
        return self._core.admin.queue(client_id)

    def in_flight(self, client_id: str) -> Iterator[bytes]:
        """Yield the packets in flight to a session, the oldest first."""
        return self._core.admin.in_flight(client_id)

    def is_connected(self, name: str) -> bool:
        """Return whether an identity is connected now."""
        return self._hub.is_connected(name)

    def has_room(self, client_id: str, size_bytes: int) -> bool:
        """Return whether a session takes one more message of QoS 1; True when there is none."""
        return self._core.has_room(client_id, size_bytes, self.now())

    def now(self) -> float:
        """Return the loop's time; 0 before the start."""
        return self._loop.time() if self._loop is not None else 0.0

    async def _open(self, store: Journal) -> None:
        image, report = await asyncio.to_thread(store.open)
        self.counters.store_damages = report.faults
        boot = await asyncio.to_thread(_read_boot)
        self._core.restore(image, self.now(), time.time(), boot)
        store.start()
        self._core.tick(self.now())  # wills that are due, sessions that are over

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
        self._hub.flush()

    def _wake(self) -> None:
        self._hub.wake()

    def _call_soon(self, callback: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            (self._poller or self._loop).call_soon(callback)


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
