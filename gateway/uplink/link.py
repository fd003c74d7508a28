"""Decides when this node dials the cloud. Pure.

    OFFLINE ──dial──► CONNECTING ──accepted──► ONLINE
       ▲                  │ │                    │
       ├──────lost────────┘ └──refused──► REFUSED│    a refusal needs a change on the other side,
       └──────lost, renew────────────────────────┘    so the next attempt is late

`now` is the monotonic clock. After every call, `deadline` is the time of the next attempt, or None
while CONNECTING or ONLINE.
"""

from collections.abc import Callable, Iterator
from enum import StrEnum

REFUSED_RETRY_S = 30.0
STABLE_S = 10.0  # a connection that lasted this long makes the next wait short again


class CloudLinkState(StrEnum):
    """The states of the link to the cloud; the values are those of the status API."""

    DISABLED = "disabled"  # no cloud is configured
    OFFLINE = "offline"
    CONNECTING = "connecting"
    ONLINE = "online"
    REFUSED = "refused"


class CloudLink:
    """The state of the link to the cloud, and the deadline of the next attempt."""

    def __init__(self, delays: Callable[[], Iterator[float]], now: float) -> None:
        self.state = CloudLinkState.OFFLINE
        self.since = now
        self.error = ""
        self.deadline: float | None = now
        self._delays = delays
        self._waits = delays()

    def dial(self, now: float) -> None:
        """Note that an attempt begins."""
        self._to(CloudLinkState.CONNECTING, now, deadline=None)

    def accepted(self, now: float) -> None:
        """Note that the cloud accepted the connection and that the subscriptions are set up."""
        self.error = ""
        self._to(CloudLinkState.ONLINE, now, deadline=None)

    def lost(self, why: str, now: float, *, was_useful: bool = False) -> None:
        """Note a failed attempt or a broken connection; after a useful one the wait is short."""
        if was_useful or (self.state is CloudLinkState.ONLINE and now - self.since >= STABLE_S):
            self._waits = self._delays()
        self.error = why
        self._to(CloudLinkState.OFFLINE, now, deadline=now + next(self._waits))

    def refused(self, why: str, now: float) -> None:
        """Note that the cloud refused this node."""
        self._waits = self._delays()
        self.error = why
        self._to(CloudLinkState.REFUSED, now, deadline=now + REFUSED_RETRY_S)

    def renew(self, now: float) -> None:
        """Note that this node closed the connection; another may open at once."""
        self._to(CloudLinkState.OFFLINE, now, deadline=now)

    def _to(self, state: CloudLinkState, now: float, *, deadline: float | None) -> None:
        if state is not self.state:
            self.since = now
        self.state, self.deadline = state, deadline
