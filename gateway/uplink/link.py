"""The state of the way to the cloud, and when to try again.

    OFFLINE ──dial──► CONNECTING ──accepted──► ONLINE
       ▲                  │ │                    │
       ├──────lost────────┘ └──refused──► REFUSED│    a refusal needs a change on the other side,
       └──────lost, renew────────────────────────┘    so it is tried again seldom

What holds after every call: `deadline` is when to dial next, or None while CONNECTING or ONLINE.
"""

from collections.abc import Callable, Iterator
from enum import StrEnum

REFUSED_RETRY_S = 60.0
STABLE_S = 10.0  # a connection that lived this long was good: the next wait is short again


class State(StrEnum):
    """How the cloud can be reached now; the values are those of the status API."""

    DISABLED = "disabled"  # no cloud is configured
    OFFLINE = "offline"
    CONNECTING = "connecting"
    ONLINE = "online"
    REFUSED = "refused"


class Link:
    """Decides when to dial; does nothing by itself."""

    def __init__(self, delays: Callable[[], Iterator[float]], now: float) -> None:
        self.state = State.OFFLINE
        self.since = now
        self.error = ""
        self.deadline: float | None = now
        self._delays = delays
        self._waits = delays()

    def dial(self, now: float) -> None:
        """An attempt begins."""
        self._to(State.CONNECTING, now, deadline=None)

    def accepted(self, now: float) -> None:
        """The cloud took the connection and everything on it is set up."""
        self.error = ""
        self._to(State.ONLINE, now, deadline=None)

    def lost(self, why: str, now: float, *, was_useful: bool = False) -> None:
        """The attempt failed or the connection broke; a useful one is soon tried again."""
        if was_useful or (self.state is State.ONLINE and now - self.since >= STABLE_S):
            self._waits = self._delays()
        self.error = why
        self._to(State.OFFLINE, now, deadline=now + next(self._waits))

    def refused(self, why: str, now: float) -> None:
        """The cloud said no."""
        self._waits = self._delays()
        self.error = why
        self._to(State.REFUSED, now, deadline=now + REFUSED_RETRY_S)

    def renew(self, now: float) -> None:
        """The connection was closed on purpose, to open another at once."""
        self._to(State.OFFLINE, now, deadline=now)

    def _to(self, state: State, now: float, *, deadline: float | None) -> None:
        if state is not self.state:
            self.since = now
        self.state, self.deadline = state, deadline
