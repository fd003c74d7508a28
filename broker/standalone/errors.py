"""Defines the errors of the standalone broker.

BrokerError        (broker/wire/errors.py)
├─ ConfError       a configuration cannot be used
└─ CommandError    options of the command line contradict each other, or ask for too much
"""

from collections.abc import Sequence

from broker.wire.errors import BrokerError
from settings.errors import join_faults


class ConfError(BrokerError):
    """A configuration cannot be used; every fault names its place."""

    def __init__(self, path: object, problems: Sequence[str]) -> None:
        super().__init__(f"cannot use {path}: {join_faults(problems)}")
        self.problems = tuple(problems)


class CommandError(BrokerError):
    """The options of the command line cannot be used together."""
