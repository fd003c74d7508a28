"""Checks whether the cloud is ready."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Health:
    """The parts that must be up before the cloud is ready; each check returns "" or a reason."""

    checks: list[Callable[[], str]] = field(default_factory=list)

    def reasons(self) -> list[str]:
        """Return why the cloud is not ready; empty when it is."""
        return [reason for check in self.checks if (reason := check())]
