"""Defines the policy interfaces, authentication and authorisation. The default denies."""

from collections.abc import Awaitable
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials of a CONNECT, and the listener it came through."""

    client_id: str
    username: str | None
    password: bytes | None
    listener: str
    peer: str  # address without port, "" over a Unix socket
    certificate: bytes | None = None  # DER, checked by TLS
    certificate_names: tuple[tuple[str, str], ...] = ()  # as commonName, DNS, URI, email
    proved: str = ""  # an identity that the embedding program has verified, see Broker.adopt()

    def __repr__(self) -> str:
        return f"Credentials({self.client_id!r}, {self.username!r}, ***, {self.listener!r})"


class Overflow(Enum):
    """The ways to treat messages that a session cannot take in time."""

    SLOW = "slow"  # its publishers get their acknowledgements later
    DROP_OLDEST = "drop_oldest"
    DROP_NEWEST = "drop_newest"


@dataclass(frozen=True, slots=True)
class OverflowRule:
    """Decides what happens when the queue of a session is long; publishers wait at most slow_s."""

    kind: Overflow = Overflow.DROP_NEWEST
    slow_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated client; client_id names its session.

    When its credentials end (by the wall clock, in seconds since 1970) its connection is closed;
    its session stays.
    """

    name: str
    client_id: str
    groups: frozenset[str] = frozenset()
    expires_at: float | None = None
    keeps_session: bool = True  # False: its session ends with its connection, whatever it asks
    overflow: OverflowRule | None = None  # None: the newest are dropped, and not counted for it


class Refusal(IntEnum):
    """The reasons for refusing a client; the numbers are MQTT 5 reason codes."""

    CLIENT_ID_NOT_VALID = 0x85
    BAD_CREDENTIALS = 0x86
    NOT_AUTHORIZED = 0x87
    SERVER_UNAVAILABLE = 0x88
    SERVER_BUSY = 0x89
    BANNED = 0x8A
    BAD_AUTHENTICATION_METHOD = 0x8C
    QUOTA_EXCEEDED = 0x97


class Authenticator(Protocol):
    """Authenticates clients; the input of a client waits for the decision.

    authenticate() is an "async def", or a plain function when the answer needs no waiting: the
    connection needs no task then.
    """

    def authenticate(
        self, credentials: Credentials
    ) -> Identity | Refusal | Awaitable[Identity | Refusal]:
        """Return the identity of a client, or the reason to refuse it."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """A challenge that the client must answer."""

    data: bytes | None = None

    def __repr__(self) -> str:
        return "Challenge(***)"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The identity of a client, and the last data of its method."""

    identity: Identity
    data: bytes | None = None

    def __repr__(self) -> str:
        return f"Accepted({self.identity!r}, ***)"


Step = Challenge | Accepted | Refusal


class AuthExchange(Protocol):
    """One run of an authentication method with one client."""

    async def step(self, data: bytes | None) -> Step:
        """Take the authentication data of a CONNECT or an AUTH; return what follows."""


@runtime_checkable
class EnhancedAuthenticator(Authenticator, Protocol):
    """An Authenticator that has methods of several steps, too (MQTT 5, section 4.12)."""

    def begin(self, method: str, credentials: Credentials) -> AuthExchange | None:
        """Return a new run of a method; None when there is no such method."""


class Authorizer(Protocol):
    """Authorizes clients; answers are cached until Broker.rights_changed()."""

    def may_publish(self, identity: Identity, topic: str) -> bool:
        """Return whether the client may publish to the topic."""

    def may_subscribe(self, identity: Identity, topic_filter: str) -> bool:
        """Return whether the client may receive all that the filter matches."""


@runtime_checkable
class FinerAuthorizer(Protocol):
    """An Authorizer that can also deny single topics below an allowed subscription.

    may_read() is called when a route is built, only for clients that may not read all.
    """

    def may_read_all(self, identity: Identity, topic_filter: str) -> bool:
        """Return whether nothing that an allowed filter matches is kept from the client."""

    def may_read(self, identity: Identity, topic: str) -> bool:
        """Return whether the client may receive messages of the topic."""


@runtime_checkable
class IdentityDirectory(Protocol):
    """An Authorizer that knows whether the identities of an earlier run still exist."""

    def knows(self, identity: Identity) -> bool | None:
        """Return False for a removed identity, None when only its next login shows that."""


class AllowAll:
    """Allows everything: for tests, development and loopback only."""

    async def authenticate(self, credentials: Credentials) -> Identity | Refusal:
        """Accept the name that a client gives."""
        return Identity(credentials.username or credentials.client_id, credentials.client_id)

    def may_publish(self, identity: Identity, topic: str) -> bool:  # noqa: ARG002  # the port's
        """Allow."""
        return True

    def may_subscribe(self, identity: Identity, topic_filter: str) -> bool:  # noqa: ARG002
        """Allow."""
        return True


class DenyAll:
    """Refuses every client."""

    async def authenticate(self, credentials: Credentials) -> Identity | Refusal:  # noqa: ARG002
        """Refuse."""
        return Refusal.NOT_AUTHORIZED

    def may_publish(self, identity: Identity, topic: str) -> bool:  # noqa: ARG002
        """Refuse."""
        return False

    def may_subscribe(self, identity: Identity, topic_filter: str) -> bool:  # noqa: ARG002
        """Refuse."""
        return False
