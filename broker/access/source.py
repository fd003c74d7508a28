"""Chains sources of identities; the first that knows a client decides."""

import ipaddress
import logging
from collections.abc import Awaitable, Iterator, Sequence
from functools import lru_cache
from typing import Protocol, runtime_checkable

from broker.access.rights.rules import ANONYMOUS
from broker.policy import Accepted, AuthExchange, Credentials, Identity, Refusal, Step

logger = logging.getLogger(__name__)

Known = Identity | Refusal | None


class Source(Protocol):
    """One place where clients are known; identify() is an "async def" if it has to wait."""

    def identify(self, credentials: Credentials) -> Known | Awaitable[Known]:
        """Return the identity, or a refusal, or None when this source does not know the client."""


@runtime_checkable
class EnhancedSource(Source, Protocol):
    """A Source that has authentication methods of several steps, too."""

    def begin(self, method: str, credentials: Credentials) -> AuthExchange | None:
        """Return a new run of a method; None when there is no such method here."""


class Chain:
    """An EnhancedAuthenticator: the first source that knows client or method decides."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)

    def authenticate(
        self, credentials: Credentials
    ) -> Identity | Refusal | Awaitable[Identity | Refusal]:
        """Return the identity or a refusal."""
        return self._ask(iter(self._sources), credentials)

    def begin(self, method: str, credentials: Credentials) -> AuthExchange | None:
        """Return a new run of a method; None when no source has it."""
        for source in self._sources:
            exchange = (
                source.begin(method, credentials) if isinstance(source, EnhancedSource) else None
            )
            if exchange is not None:
                return _Vetted(exchange, source)
        return None

    def _ask(
        self, left: Iterator[Source], credentials: Credentials
    ) -> Identity | Refusal | Awaitable[Identity | Refusal]:
        for source in left:
            known = source.identify(credentials)
            if isinstance(known, Identity | Refusal):
                return _vet(known, source)
            if known is not None:
                return self._wait(known, source, left, credentials)
        named = credentials.username is not None or credentials.password is not None
        return Refusal.BAD_CREDENTIALS if named else Refusal.NOT_AUTHORIZED

    async def _wait(
        self,
        known: Awaitable[Known],
        source: Source,
        left: Iterator[Source],
        credentials: Credentials,
    ) -> Identity | Refusal:
        outcome = await known
        if outcome is not None:
            return _vet(outcome, source)
        answer = self._ask(left, credentials)
        return answer if isinstance(answer, Identity | Refusal) else await answer


class _Vetted:
    """An exchange of a source whose names are looked at."""

    def __init__(self, exchange: AuthExchange, source: Source) -> None:
        self._exchange, self._source = exchange, source

    async def step(self, data: bytes | None) -> Step:
        outcome = await self._exchange.step(data)
        if isinstance(outcome, Accepted) and not is_name(outcome.identity, self._source):
            logger.warning(
                "cannot admit %.64r: this user name is not allowed", outcome.identity.name
            )
            return Refusal.NOT_AUTHORIZED
        return outcome


def _vet(known: Identity | Refusal, source: Source) -> Identity | Refusal:
    if isinstance(known, Identity) and not is_name(known, source):
        logger.warning("cannot admit %.64r: this user name is not allowed", known.name)
        return Refusal.BAD_CREDENTIALS
    return known


def is_name(identity: Identity, source: Source) -> bool:
    """Return whether a source may give this name; only one may say "anonymous"."""
    return bool(identity.name) and (
        identity.name != ANONYMOUS or isinstance(source, AnonymousSource)
    )


class AnonymousSource:
    """Admits clients without a user name, from this machine or from the network."""

    def __init__(self, *, network: bool, ignores_names: bool = False) -> None:
        self._network = network
        self._ignores_names = ignores_names  # for a listener where nothing verifies names

    def identify(self, credentials: Credentials) -> Known:
        """Return the identity that all clients without a user name share."""
        named = credentials.username is not None or credentials.password is not None
        if named and not self._ignores_names:
            return None
        if self._network or is_loopback(credentials.peer):
            return Identity(ANONYMOUS, credentials.client_id)
        return Refusal.NOT_AUTHORIZED


@lru_cache(1_000)  # speed: else an address is parsed for each connection
def is_loopback(host: str) -> bool:
    """Return whether an address is this machine's own; "" is a Unix socket."""
    if host in ("", "localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
