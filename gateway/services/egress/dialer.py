"""Opens connections to the outside for one process of a container, as its manifest allows."""

import asyncio
import contextlib
import logging
import os
import socket
from dataclasses import dataclass, field

from gateway.services.egress.resolver import NameResolver
from gateway.services.egress.targets import RequestTarget, is_address
from gateway.services.network.addresses import IpAddress
from gateway.services.network.admission import Admission, NetworkDeniedError
from gateway.services.proxy.exchange import UpstreamError

logger = logging.getLogger(__name__)

RESOLVE_S = 5.0
CONNECT_S = 5.0  # for one address
ADDRESSES_LIMIT = 4  # of one name, tried one after the other
REFUSALS_LIMIT = 64  # messages that are remembered, to log each once


@dataclass(slots=True)
class EgressCounters:
    """Counts the traffic of one container to the outside."""

    requests: int = 0
    tunnels: int = 0
    refused: int = 0
    failed: int = 0


@dataclass(slots=True)
class RefusalLog:
    """Logs each refusal of a container once."""

    container_id: str
    seen: set[str] = field(default_factory=set)

    def note(self, why: str) -> None:
        """Log a refusal if it is a new one."""
        is_new = why not in self.seen and len(self.seen) < REFUSALS_LIMIT
        if is_new:
            self.seen.add(why)
        logger.log(logging.WARNING if is_new else logging.DEBUG, "%s: %s", self.container_id, why)


class Dialer:
    """Connects to allowed targets; it resolves names itself and connects to what it has checked."""

    def __init__(
        self,
        admission: Admission,
        resolver: NameResolver,
        counters: EgressCounters,
        refusals: RefusalLog,
    ) -> None:
        self._admission, self._resolver = admission, resolver
        self._counters, self._refusals = counters, refusals

    async def connect(self, target: RequestTarget) -> socket.socket:
        """Return a connection to a target.

        Raises:
            UpstreamError: it is not allowed, or cannot be reached.
        """
        try:
            addresses = await self._find(target)
        except NetworkDeniedError as exc:
            self._counters.refused += 1
            self._refusals.note(str(exc))
            raise _failure(403, "http_request_denied", str(exc)) from exc
        try:
            return await _connect_any(addresses, target)
        except UpstreamError:
            self._counters.failed += 1
            raise

    async def _find(self, target: RequestTarget) -> list[IpAddress]:
        address = is_address(target.host)
        if address is not None:
            self._admission.check_address(address, target.port)
            return [address]
        self._admission.check_name(target.host, target.port)
        try:
            async with asyncio.timeout(RESOLVE_S):
                found = await self._resolver.resolve(target.host)
        except TimeoutError as exc:
            self._counters.failed += 1
            why = f"cannot reach {target.place}: its name was not resolved in {RESOLVE_S:g} s"
            raise _failure(504, "dns_timeout", why) from exc
        except OSError as exc:
            self._counters.failed += 1
            why = f"cannot reach {target.place}: {(exc.strerror or str(exc)).lower()}"
            raise _failure(502, "dns_error", why) from exc
        return self._admission.select(target.host, found, target.port)


async def _connect_any(addresses: list[IpAddress], target: RequestTarget) -> socket.socket:
    last: BaseException = OSError("its name has no address")
    for address in addresses[:ADDRESSES_LIMIT]:
        try:
            async with asyncio.timeout(CONNECT_S):
                return await _connect(str(address), target.port)
        except OSError as exc:  # TimeoutError is one
            last = exc
    if isinstance(last, TimeoutError):
        why = f"cannot reach {target.place}: no connection in {CONNECT_S:g} s"
        raise _failure(504, "connection_timeout", why) from last
    reason = os.strerror(last.errno) if isinstance(last, OSError) and last.errno else str(last)
    is_refused = isinstance(last, ConnectionRefusedError)
    kind = "connection_refused" if is_refused else "destination_unavailable"
    raise _failure(502, kind, f"cannot reach {target.place}: {reason.lower()}") from last


async def _connect(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.ExitStack() as undo:
        connection = socket.socket(family, socket.SOCK_STREAM)
        undo.callback(connection.close)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, (address, port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        undo.pop_all()
        return connection


def _failure(status: int, error: str, why: str) -> UpstreamError:
    return UpstreamError(status, why, {"Proxy-Status": f"hecate; error={error}"})


def is_own_address(address: IpAddress) -> bool:
    """Return whether an address is one of this machine: only those can be bound."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((str(address), 0))
        return True
    return False
