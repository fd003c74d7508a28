"""Defines the errors of settings.

SettingsError    a file or an environment variable cannot be used
"""

from collections.abc import Sequence

SHOWN = 10  # a file may have many faults; a message shows this many


class SettingsError(Exception):
    """A program cannot use its settings; the message names every fault with its place."""

    def __init__(self, message: str, faults: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.faults = tuple(faults)

    @classmethod
    def of(cls, source: str, faults: Sequence[str]) -> "SettingsError":
        """Return the error of a source that has these faults."""
        return cls(f"cannot read {source}: {join_faults(faults)}", faults)


def join_faults(faults: Sequence[str]) -> str:
    """Return the first faults in one line, with the number of those that it leaves out."""
    more = [f"and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
    return "; ".join([*faults[:SHOWN], *more])
