"""Connects the sockets of one broker to its core: input, output, authentication, bookkeeping.

Acceptors and connections know the hub alone; the broker that builds it is above them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Protocol

from broker.policy import (
    Authenticator,
    AuthExchange,
    Credentials,
    EnhancedAuthenticator,
    Identity,
    Refusal,
    Step,
)
from broker.quota.buffer_budget import BufferBudget, BufferOwner

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from broker.core import Core
    from broker.quota.counters import BrokerCounters
    from broker.quota.limits import Limits
    from broker.sessions.client import Client

logger = logging.getLogger(__name__)

READ_BYTES = 262_144  # as much as asyncio reads at once; a busy publisher fills it
FLUSH_BYTES = 65_536  # of input after which output is written at once, to keep the peak low


class OpenConnection(BufferOwner, Protocol):
    """A connection that the hub has noted."""

    @property
    def is_online(self) -> bool:
        """True between the CONNACK and the end of the connection."""

    def abort(self) -> None:
        """Close now."""


class Hub:
    """Serves the connections of one broker; all of it runs on the event loop."""

    def __init__(
        self,
        core: Core,
        limits: Limits,
        authenticator: Authenticator,
        now: Callable[[], float],
    ) -> None:
        self.core = core
        self.limits = limits
        self.now = now
        self.read_buffer = memoryview(bytearray(READ_BYTES))
        self.buffer_budget = BufferBudget(limits)
        self._authenticator = authenticator
        self._connections: set[OpenConnection] = set()
        self._named: dict[str, set[OpenConnection]] = {}  # those that were online, by identity
        self._call_soon: Callable[[Callable[[], None]], object] | None = None
        self._last_closed: asyncio.Event | None = None  # while the broker stops
        self._is_woken = False
        self._read_bytes = 0

    @property
    def counters(self) -> BrokerCounters:
        """The counters since the start."""
        return self.core.counters

    @property
    def unread_bytes(self) -> int:
        """The bytes kept for peers that have not taken them yet."""
        return sum(each.unread_bytes for each in self._connections)

    def start(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        """Schedule writes with this function from now on."""
        self._call_soon = call_soon
        self._is_woken = False  # by an event loop that is closed

    def is_connected(self, name: str) -> bool:
        """Return whether an identity is connected now."""
        return any(each.is_online for each in self._named.get(name, ()))

    def abort_all(self) -> None:
        """Close every connection now."""
        for connection in tuple(self._connections):
            connection.abort()

    async def wait_until_closed(self, timeout_s: float) -> None:
        """Wait until the last connection is closed, or until the time is over."""
        if self._connections:
            self._last_closed = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._last_closed.wait(), timeout_s)

    def wake(self) -> None:
        """Write all output once the sockets that are ready now are read."""
        if self._call_soon is not None and not self._is_woken:
            self._is_woken = True
            self._call_soon(self._flush_once)

    def receive(self, client: Client, data: bytes) -> None:
        """Handle the bytes of one read; write now, or once all ready sockets are read."""
        self.core.receive(client, data, self.now())
        self._received(len(data))

    def grow(self, client: Client, size: int) -> None:
        """Take what one read brought into the client's packet buffer."""
        self.core.receive_buffered(client, size, self.now())
        self._received(size)

    def _received(self, size: int) -> None:
        self._read_bytes += size
        if self._read_bytes >= FLUSH_BYTES:
            self.flush()
        elif not self._is_woken and self.core.has_output:
            # speed: one write per client for all sockets that were ready, see benchmarks/
            self.wake()

    def flush(self) -> None:
        """Write the output of all clients."""
        self._read_bytes = 0
        self.core.write_all(self.now(), in_between=True)
        if self.core.has_output:
            self.wake()

    def _flush_once(self) -> None:
        """Write the output of all clients once per wake-up, and begin a new round of turns."""
        self._is_woken = False
        self._read_bytes = 0
        self.core.write_all(self.now())
        if self.core.has_output:  # retained messages go a piece at a time
            self.wake()

    def note(self, connection: OpenConnection) -> None:
        """Note an open connection."""
        self._connections.add(connection)

    def note_online(self, connection: OpenConnection, name: str) -> None:
        """Note that the client of a connection is online."""
        self._named.setdefault(name, set()).add(connection)

    def forget(self, connection: OpenConnection, name: str) -> None:
        """Note that a connection is closed; the name is that of its identity, if it was online."""
        self._connections.discard(connection)
        if self._last_closed is not None and not self._connections:
            self._last_closed.set()
        self.buffer_budget.forget(connection)
        named = self._named.get(name)
        if named is not None:
            named.discard(connection)
            if not named:
                del self._named[name]

    def authenticate(
        self, client: Client, credentials: Credentials
    ) -> Coroutine[None, None, None] | None:
        """Ask the authenticator and apply its answer; return the awaitable if it has to wait."""
        try:
            answer = self._authenticator.authenticate(credentials)
        except Exception as exc:  # noqa: BLE001  # logged there
            answer = self._fail(client, credentials, exc)
        if not isinstance(answer, Identity | Refusal):
            return self._decide_later(client, credentials, answer)
        self.core.decide(client, answer, self.now())
        return None

    def begin(self, method: str, credentials: Credentials) -> AuthExchange | None:
        """Return a new exchange of an authentication method; None if no authenticator has it."""
        authenticator = self._authenticator
        if not isinstance(authenticator, EnhancedAuthenticator):
            return None
        return authenticator.begin(method, credentials)

    async def proceed(
        self, client: Client, exchange: AuthExchange | None, data: bytes | None
    ) -> None:
        """Take a step of an authentication exchange and apply its outcome."""
        outcome: Step = Refusal.BAD_AUTHENTICATION_METHOD  # [MQTT-4.12.0-1]
        if exchange is not None:
            try:
                outcome = await exchange.step(data)
            except Exception:
                logger.exception("cannot authenticate a client from %r", client.peer)
                outcome = Refusal.SERVER_UNAVAILABLE
        self.core.decide(client, outcome, self.now())
        self.wake()

    async def _decide_later(
        self, client: Client, credentials: Credentials, answer: Awaitable[Identity | Refusal]
    ) -> None:
        try:
            outcome = await answer
        except Exception as exc:  # noqa: BLE001  # logged there
            outcome = self._fail(client, credentials, exc)
        self.core.decide(client, outcome, self.now())
        self.wake()  # speed: one flush for all steps of a wake-up

    def _fail(self, client: Client, credentials: Credentials, error: Exception) -> Refusal:
        if self.core.log_limiter.may_log(client.peer, "cannot_authenticate"):
            logger.error("cannot authenticate %r", credentials.client_id, exc_info=error)
        return Refusal.SERVER_UNAVAILABLE
