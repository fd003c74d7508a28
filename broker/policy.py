"""Who may connect, publish and subscribe. Nobody, unless a policy says so."""

from collections.abc import Awaitable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client says about itself, and where it came in."""

    client_id: str
    username: str | None
    password: bytes | None
    listener: str
    peer: str  # address without port, "" over a Unix socket
    certificate: bytes | None = None  # DER, checked by TLS
    certificate_names: tuple[tuple[str, str], ...] = ()  # as commonName, DNS, URI, email

    def __repr__(self) -> str:
        return f"Credentials({self.client_id!r}, {self.username!r}, ***, {self.listener!r})"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a client is; client_id names its session.

    When its credentials end (by the wall clock, in seconds since 1970) its connection is closed;
    its session stays.
    """

    name: str
    client_id: str
    groups: frozenset[str] = frozenset()
    expires_at: float | None = None
    keeps_session: bool = True  # False: its session ends with its connection, whatever it asks


class Refusal(IntEnum):
    """Why a client may not connect; the numbers are MQTT 5 reason codes."""

    CLIENT_ID_NOT_VALID = 0x85
    BAD_CREDENTIALS = 0x86
    NOT_AUTHORIZED = 0x87
    SERVER_UNAVAILABLE = 0x88
    SERVER_BUSY = 0x89
    BANNED = 0x8A
    BAD_AUTHENTICATION_METHOD = 0x8C
    QUOTA_EXCEEDED = 0x97


class Authenticator(Protocol):
    """Decides who a client is; the client's further bytes wait for it.

    It is an "async def", or a plain function when the answer is often at hand: a connection whose
    authenticator need not wait needs no task.
    """

    def authenticate(
        self, credentials: Credentials
    ) -> Identity | Refusal | Awaitable[Identity | Refusal]:
        """Return who this is, or why it may not connect."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a client has to answer before it is known who it is."""

    data: bytes | None = None

    def __repr__(self) -> str:
        return "Challenge(***)"


@dataclass(frozen=True, slots=True)
class Accepted:
    """Who a client is, and the last that its method says to it."""

    identity: Identity
    data: bytes | None = None

    def __repr__(self) -> str:
        return f"Accepted({self.identity!r}, ***)"


Step = Challenge | Accepted | Refusal


class Exchange(Protocol):
    """One run of an authentication method with one client."""

    async def step(self, data: bytes | None) -> Step:
        """Take the authentication data of a CONNECT or an AUTH; return what follows."""


@runtime_checkable
class EnhancedAuthenticator(Authenticator, Protocol):
    """An Authenticator that has methods of several steps, too (MQTT 5, section 4.12)."""

    def begin(self, method: str, credentials: Credentials) -> Exchange | None:
        """Return a new run of a method; None when there is no such method."""


class Authorizer(Protocol):
    """Decides what a client may do; answers are remembered until Broker.rights_changed()."""

    def may_publish(self, identity: Identity, topic: str) -> bool:
        """Return whether the client may publish to the topic."""

    def may_subscribe(self, identity: Identity, topic_filter: str) -> bool:
        """Return whether the client may receive all that the filter matches."""


@runtime_checkable
class FinerAuthorizer(Protocol):
    """What an Authorizer may know beside: topics that a subscription matches but must not bring.

    It is asked about a topic when a route is built, only for those who may not read all.
    """

    def may_read_all(self, identity: Identity, topic_filter: str) -> bool:
        """Return whether nothing that an allowed filter matches is kept from the client."""

    def may_read(self, identity: Identity, topic: str) -> bool:
        """Return whether the client may receive messages of the topic."""


@runtime_checkable
class IdentityDirectory(Protocol):
    """What an Authorizer may know beside: which of the identities of an earlier run still are."""

    def knows(self, identity: Identity) -> bool | None:
        """Return False for one that is no more, None for one whose rights its login will tell."""


class AllowAll:
    """Lets everybody do everything: for tests, development and loopback only."""

    async def authenticate(self, credentials: Credentials) -> Identity | Refusal:
        """Take every client at its word."""
        return Identity(credentials.username or credentials.client_id, credentials.client_id)

    def may_publish(self, identity: Identity, topic: str) -> bool:  # noqa: ARG002  # the port's
        """Allow."""
        return True

    def may_subscribe(self, identity: Identity, topic_filter: str) -> bool:  # noqa: ARG002
        """Allow."""
        return True


class DenyAll:
    """Lets nobody in."""

    async def authenticate(self, credentials: Credentials) -> Identity | Refusal:  # noqa: ARG002
        """Refuse."""
        return Refusal.NOT_AUTHORIZED

    def may_publish(self, identity: Identity, topic: str) -> bool:  # noqa: ARG002
        """Refuse."""
        return False

    def may_subscribe(self, identity: Identity, topic_filter: str) -> bool:  # noqa: ARG002
        """Refuse."""
        return False
