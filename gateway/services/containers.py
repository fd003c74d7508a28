"""Tracks the states of one container.

Theory of operation
-------------------
_NEXT is the machine: a state and an event give the next state, and an event that a state does
not list raises. A failure is RELAPSE when the container was ready before and has not failed too
often in a row, else COLLAPSE; they lead to restarting and failed. Both are tried again.

Four rules hold after every call:

1. A container that failed is tried again, however often: after 0.5 s, 1 s, 2 s … 5 min. Power
   and brokers come back while no person is there.
2. It is called failed, not restarting, when it was never ready or failed LIMIT times in a row.
3. Being up for STEADY_S, or a deployment, ends a row of failures.
4. While stopping or stopped, nothing is due.
"""

from enum import StrEnum

FIRST_DELAY_S = 0.5
DELAY_CAP_S = 300.0
LIMIT = 5  # failures in a row; the fifth comes 15 s after the first
STEADY_S = 60.0
_DOUBLINGS = 32  # far beyond the cap; a larger power would be a number without end


class ContainerState(StrEnum):
    """The states of a container."""

    CREATED = "created"
    STARTED = "started"
    RESTARTING = "restarting"
    FAILED = "failed"
    STOPPING = "stopping"
    STOPPED = "stopped"


class ContainerEvent(StrEnum):
    """The events that change the state."""

    READY = "ready"
    RELAPSE = "relapse"
    COLLAPSE = "collapse"
    START = "start"
    STOP = "stop"
    STOPPED = "stopped"


def _anywhere(
    event: ContainerEvent, to: ContainerState
) -> dict[tuple[ContainerState, ContainerEvent], ContainerState]:
    return {(state, event): to for state in ContainerState}


_S, _E = ContainerState, ContainerEvent
_UP_OR_COMING = (_S.CREATED, _S.STARTED, _S.RESTARTING, _S.FAILED)
_NEXT: dict[tuple[ContainerState, ContainerEvent], ContainerState] = {
    **_anywhere(_E.START, _S.CREATED),
    **_anywhere(_E.STOP, _S.STOPPING),
    **{(state, _E.READY): _S.STARTED for state in _UP_OR_COMING},
    **{(state, _E.RELAPSE): _S.RESTARTING for state in _UP_OR_COMING},
    **{(state, _E.COLLAPSE): _S.FAILED for state in _UP_OR_COMING},
    (_S.STOPPING, _E.STOPPED): _S.STOPPED,
    (_S.STOPPED, _E.STOPPED): _S.STOPPED,
    # its process ends because it was told to: no failure
    (_S.STOPPING, _E.COLLAPSE): _S.STOPPING,
    (_S.STOPPING, _E.RELAPSE): _S.STOPPING,
    (_S.STOPPED, _E.COLLAPSE): _S.STOPPED,
    (_S.STOPPED, _E.RELAPSE): _S.STOPPED,
}


class Container:
    """The state machine; the caller owns the process and the clock."""

    def __init__(self, now: float) -> None:
        self.state = ContainerState.CREATED
        self.error = ""
        self.deadline: float | None = now  # the time of its next start
        self.ready_at: float | None = None
        self._failures = 0
        self._was_ready = False

    @property
    def has_failed(self) -> bool:
        """Return whether it waits for another try after a failure."""
        return self.state in (ContainerState.RESTARTING, ContainerState.FAILED)

    def is_due(self, now: float) -> bool:
        """Return whether it is to be started now."""
        return self.deadline is not None and now >= self.deadline

    def ready(self, now: float) -> None:
        """Note that its process is ready."""
        self._step(ContainerEvent.READY)
        self.error, self.deadline, self.ready_at = "", None, now
        self._was_ready = True

    def failed(self, why: str, now: float) -> None:
        """Note that its process ended by itself or never became ready."""
        if self.ready_at is not None and now - self.ready_at >= STEADY_S:
            self._failures = 0
        self._failures += 1
        relapses = self._was_ready and self._failures < LIMIT
        self._step(ContainerEvent.RELAPSE if relapses else ContainerEvent.COLLAPSE)
        if self.has_failed:
            self.error, self.ready_at = why, None
            self.deadline = now + delay_s(self._failures)

    def start(self, now: float) -> None:
        """Start it anew; earlier failures do not count."""
        self._step(ContainerEvent.START)
        self.error, self.deadline, self.ready_at = "", now, None
        self._was_ready = False
        self.forget_failures()

    def forget_failures(self) -> None:
        """End a row of failures: what ran before has been replaced."""
        self._failures = 0

    def stop(self) -> None:
        """Note that it is being stopped."""
        self._step(ContainerEvent.STOP)
        self.deadline, self.ready_at = None, None

    def stopped(self) -> None:
        """Note that its process is gone."""
        self._step(ContainerEvent.STOPPED)
        self.error = ""

    def _step(self, event: ContainerEvent) -> None:
        self.state = _NEXT[self.state, event]


def delay_s(failures: int) -> float:
    """Return the pause after so many failures in a row."""
    return float(min(FIRST_DELAY_S * 2 ** min(failures - 1, _DOUBLINGS), DELAY_CAP_S))
