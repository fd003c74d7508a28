"""Errors of the configuration.

BrokerError      (broker/wire/errors.py)
└─ ConfError     a configuration file cannot be used
"""

from collections.abc import Sequence

from broker.wire.errors import BrokerError

SHOWN = 10  # a file from another broker may have many


class ConfError(BrokerError):
    """A configuration cannot be used; every reason names its place."""

    def __init__(self, path: object, problems: Sequence[str]) -> None:
        more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        super().__init__(f"cannot use {path}: {'; '.join([*problems[:SHOWN], *more])}")
        self.problems = tuple(problems)
