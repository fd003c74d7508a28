"""Keeps the state of a session across connections: its owner, its expiry, its will."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from broker.wire.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.policy import Identity
    from broker.sessions.outbound import Outbound
    from broker.sessions.persistence import SessionPersistence
    from broker.wire.packets import Will


class SessionState(Enum):
    """The states of a session."""

    NEW = "made for a CONNECT, never connected"
    ONLINE = "its client is connected"
    AWAY = "kept without a connection"
    RESTORED = "taken from the store; its owner has not connected yet"
    ENDED = "removed"


class SessionEvent(Enum):
    """The events that change the state of a session."""

    RESTORE = "the store holds it"
    CLAIM = "a CONNECT of its owner came"
    ATTACH = "its client is online"
    DETACH = "its connection has ended"
    LEAVE = "it is kept without a connection"
    END = "it is removed"


NEW, ONLINE, AWAY, RESTORED, ENDED = SessionState
RESTORE, CLAIM, ATTACH, DETACH, LEAVE, END = SessionEvent

# every other event is a fault of the broker and raises LocalProtocolError
SESSION_TRANSITIONS: dict[tuple[SessionState, SessionEvent], SessionState] = {
    (NEW, RESTORE): RESTORED,
    (NEW, CLAIM): NEW,
    (NEW, ATTACH): ONLINE,
    (NEW, LEAVE): AWAY,
    (NEW, END): ENDED,
    (RESTORED, CLAIM): AWAY,
    (RESTORED, END): ENDED,
    (AWAY, CLAIM): AWAY,
    (AWAY, ATTACH): ONLINE,
    (AWAY, LEAVE): AWAY,
    (AWAY, END): ENDED,
    (ONLINE, DETACH): AWAY,
    (ENDED, END): ENDED,  # a hook may end a session while the broker ends it
}


class SessionLifecycle:
    """The state of one session; Session adds its messages."""

    __slots__ = (
        "client_id", "expires_at", "expiry_s", "may_read", "opening", "owner", "state", "version",
        "will", "will_at", "will_recorder",
    )  # fmt: skip

    def __init__(self, client_id: str, owner: Identity) -> None:
        self.state = SessionState.NEW
        self.client_id = client_id
        self.owner = owner
        self.may_read: Callable[[str], bool] | None = None  # None: every subscribed topic
        self.opening: Outbound | None = None  # the connection whose CONNECT is being stored
        self.version = 0  # of the last connection; 0: it never had one
        self.expiry_s: float = 0.0
        self.expires_at: float | None = None  # set while away
        self.will: Will | None = None  # waits for will_at while away
        self.will_at = 0.0
        self.will_recorder: SessionPersistence | None = (
            None  # for a session of which only the will is stored
        )

    def _change(self, event: SessionEvent) -> None:
        following = SESSION_TRANSITIONS.get((self.state, event))
        if following is None:
            raise LocalProtocolError(f"session in state {self.state.name}: {event.name}")
        self.state = following

    @property
    def is_restored(self) -> bool:
        """True while the owner of a session from the store has not connected."""
        return self.state is SessionState.RESTORED

    def restrict(self, may_read: Callable[[str], bool] | None) -> None:
        """Deliver only topics that the owner may read; None: every subscribed topic."""
        self.may_read = may_read

    def reads(self, topic: str) -> bool:
        """Return whether the owner may read a topic that is subscribed to."""
        return self.may_read is None or self.may_read(topic)

    def claim(self, owner: Identity, expiry_s: float) -> None:
        """Note that a client of the owner opens the session."""
        self._change(SessionEvent.CLAIM)
        self.owner = owner
        self.expiry_s = expiry_s
        self.expires_at = None

    def note_attached(self, version: int) -> None:
        """Note that a connection has begun."""
        self._change(SessionEvent.ATTACH)
        self.version = version
        self.expires_at = self.will = None

    def note_detached(self) -> None:
        """Note that the connection has ended."""
        self._change(SessionEvent.DETACH)

    def leave(self, expires_at: float) -> None:
        """Keep the session without a connection until it expires."""
        self._change(SessionEvent.LEAVE)
        self.expires_at = expires_at

    def note_restored(self, version: int, expiry_s: float, expires_at: float) -> None:
        """Take what the store knows of the session."""
        self._change(SessionEvent.RESTORE)
        self.version = version
        self.expiry_s = expiry_s
        self.expires_at = expires_at

    def end(self) -> None:
        """Note that the session is removed."""
        self._change(SessionEvent.END)

    def set_owner(self, owner: Identity) -> None:
        """Note the identity after a re-authentication."""
        self.owner = owner

    def set_expiry(self, expiry_s: float) -> None:
        """Keep the session for this time after its connection."""
        self.expiry_s = expiry_s

    def set_opening(self, client: Outbound | None) -> None:
        """Note the connection whose CONNECT is being stored, or that none is."""
        self.opening = client

    def set_will(self, will: Will | None, due_at: float = 0.0) -> None:
        """Hold the will of a connection that has ended."""
        self.will, self.will_at = will, due_at

    def take_will(self) -> Will | None:
        """Return the will, once."""
        will, self.will = self.will, None
        return will

    def set_will_recorder(self, recorder: SessionPersistence | None) -> None:
        """Store the will alone, or no more."""
        self.will_recorder = recorder
