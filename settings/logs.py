"""Defines the [log] section of a program."""

from dataclasses import dataclass

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True, slots=True)
class LogSettings:
    """The log level."""

    level: str = "INFO"  # or DEBUG, WARNING, ERROR; in lower case, too

    def check(self) -> None:
        """Refuse an unknown level."""
        if self.level.upper() not in LEVELS:
            raise ValueError(f'level = "{self.level}": must be one of {", ".join(LEVELS)}')
