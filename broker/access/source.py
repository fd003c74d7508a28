"""Where clients can be known from; several are asked one after the other."""

import ipaddress
import logging
from collections.abc import Sequence
from typing import Protocol

from broker.access.rules import ANONYMOUS
from broker.policy import Credentials, Identity, Refusal

logger = logging.getLogger(__name__)


class Source(Protocol):
    """One place where clients are known."""

    async def identify(self, credentials: Credentials) -> Identity | Refusal | None:
        """Return who this is, why it may not connect, or None when it is not known here."""


class Chain:
    """An Authenticator: the first source that knows the client decides."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)

    async def authenticate(self, credentials: Credentials) -> Identity | Refusal:
        """Return who this is, or why it may not connect."""
        for source in self._sources:
            outcome = await source.identify(credentials)
            if isinstance(outcome, Identity) and not is_name(outcome, source):
                logger.warning("cannot admit %.64r: a user must not be called so", outcome.name)
                return Refusal.BAD_CREDENTIALS
            if outcome is not None:
                return outcome
        named = credentials.username is not None or credentials.password is not None
        return Refusal.BAD_CREDENTIALS if named else Refusal.NOT_AUTHORIZED


def is_name(identity: Identity, source: Source) -> bool:
    """Return whether a source may give this name; only one may say "anonymous"."""
    return bool(identity.name) and (
        identity.name != ANONYMOUS or isinstance(source, AnonymousSource)
    )


class AnonymousSource:
    """Lets in who comes without a user, from where it is allowed."""

    def __init__(self, *, network: bool, ignores_names: bool = False) -> None:
        self._network = network
        self._ignores_names = ignores_names  # where nobody could vouch for a name anyhow

    async def identify(self, credentials: Credentials) -> Identity | Refusal | None:
        """Return the identity that all without a user share."""
        named = credentials.username is not None or credentials.password is not None
        if named and not self._ignores_names:
            return None
        if self._network or is_loopback(credentials.peer):
            return Identity(ANONYMOUS, credentials.client_id)
        return Refusal.NOT_AUTHORIZED


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
