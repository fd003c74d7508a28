"""Checks whether the cloud is ready."""

from collections.abc import Awaitable, Callable, Sequence

HealthCheck = Callable[[], Awaitable[str]]  # returns "" or the reason of bad health


class Health:
    """The parts that must work for the cloud to be ready."""

    def __init__(self, checks: Sequence[HealthCheck]) -> None:
        self._checks = checks
        self._is_stopping = False

    def stop(self) -> None:
        """Report from now on that the cloud stops."""
        self._is_stopping = True

    async def reasons(self) -> list[str]:
        """Return why the cloud is not ready; empty when it is."""
        reasons = [reason for check in self._checks if (reason := await check())]
        return [*reasons, "the cloud stops"] if self._is_stopping else reasons
