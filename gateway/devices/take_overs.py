"""Decides when logins of one device are those of two boards with one identity. Pure.

MQTT gives a client id to the client that logs in last. A board that lost its link without noticing
takes over its own connection, once; two boards take it from each other for ever. So a few
take-overs in a short time mean a conflict, and from then on the connection that stands is kept:
further logins are refused until they stop for as long, or until the device is offline.
"""

LIMIT = 4
WINDOW_S = 60.0


class TakeOvers:
    """The recent take-overs of one device's connection."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._held_at: float | None = None

    def admit(self, now: float) -> bool:
        """Note a login while the device is online; return whether it may take over."""
        if self.is_holding(now):
            self._held_at = now
            return False
        self._times = [at for at in self._times if now - at < WINDOW_S] + [now]
        if len(self._times) < LIMIT:
            return True
        self._times = []
        self._held_at = now
        return False

    def is_holding(self, now: float) -> bool:
        """Return whether logins are being refused."""
        return self._held_at is not None and now - self._held_at < WINDOW_S
