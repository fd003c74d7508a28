"""Defines what a probe inside a container reports: one finding for each thing that is isolated."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Level(StrEnum):
    """The degree to which something is isolated."""

    FULL = "full"
    PART = "part"
    NONE = "none"


# in the order in which people see them
FINDINGS = (
    "uid", "privileges", "files", "landlock", "processes_seen", "network", "syscalls",
    "memory", "cpu", "processes", "open_files",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing as the probe found it."""

    level: Level
    detail: str


@dataclass(frozen=True, slots=True)
class Isolation:
    """The findings of the probe, by the names in FINDINGS."""

    findings: Mapping[str, Finding] = field(default_factory=dict)

    def missing(self, required: tuple[str, ...]) -> list[str]:
        """Return the required findings that are less than full."""
        return [
            name
            for name in required
            if name not in self.findings or self.findings[name].level is not Level.FULL
        ]
