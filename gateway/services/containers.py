"""Tracks the states of one container.

Theory of operation
-------------------
    created ──ready──► started ──failed──► restarting ──ready──► started
       └────failed───► failed ───ready──►  started
    any ──stop──► stopping ──stopped──► stopped ──start──► created
                  (stopped survives the gateway: the caller keeps it on disk)

Four rules hold after every call:

1. A container that failed is tried again, however often: after 0.5 s, 1 s, 2 s … 5 min. Power
   and brokers come back while no person is there.
2. It is called failed, not restarting, when it was never ready or failed LIMIT times in a row.
3. Being up for STEADY_S ends a row of failures.
4. While stopping or stopped, nothing is due.
"""

from enum import StrEnum

FIRST_DELAY_S = 0.5
DELAY_CAP_S = 300.0
LIMIT = 5  # failures in a row; the fifth comes 15 s after the first
STEADY_S = 60.0


class ContainerState(StrEnum):
    """The states of a container."""

    CREATED = "created"
    STARTED = "started"
    RESTARTING = "restarting"
    FAILED = "failed"
    STOPPING = "stopping"
    STOPPED = "stopped"


class Container:
    """The state machine; the caller owns the process and the clock."""

    def __init__(self, now: float) -> None:
        self.state = ContainerState.CREATED
        self.error = ""
        self.deadline: float | None = now  # when to try to start it
        self.ready_at: float | None = None
        self._failures = 0
        self._was_ready = False

    def is_due(self, now: float) -> bool:
        """Return whether it is to be started now."""
        return self.deadline is not None and now >= self.deadline

    def ready(self, now: float) -> None:
        """Note that its process is ready."""
        self.state, self.error = ContainerState.STARTED, ""
        self.deadline, self.ready_at = None, now
        self._was_ready = True

    def failed(self, why: str, now: float) -> None:
        """Note that its process ended by itself or never became ready."""
        if self.state in (ContainerState.STOPPING, ContainerState.STOPPED):
            return
        if self.ready_at is not None and now - self.ready_at >= STEADY_S:
            self._failures = 0
        self._failures += 1
        self.error, self.ready_at = why, None
        hopeless = not self._was_ready or self._failures >= LIMIT
        self.state = ContainerState.FAILED if hopeless else ContainerState.RESTARTING
        self.deadline = now + min(FIRST_DELAY_S * 2 ** min(self._failures - 1, 32), DELAY_CAP_S)

    def start(self, now: float) -> None:
        """Start it anew; earlier failures do not count."""
        self.state, self.error = ContainerState.CREATED, ""
        self.deadline, self.ready_at = now, None
        self._failures, self._was_ready = 0, False

    def stop(self) -> None:
        """Note that it is being stopped."""
        self.state, self.deadline, self.ready_at = ContainerState.STOPPING, None, None

    def stopped(self) -> None:
        """Note that its process is gone."""
        self.state, self.error = ContainerState.STOPPED, ""
