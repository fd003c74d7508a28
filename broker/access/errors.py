"""Defines the errors of users and rights.

BrokerError        (broker/wire/errors.py)
└─ AccessError     a file of users, rights or keys cannot be used
"""

from collections.abc import Sequence
from dataclasses import dataclass

from broker.wire.errors import BrokerError

SHOWN = 5  # problems of one file in one message; more do not help


@dataclass(frozen=True, slots=True)
class AccessProblem:
    """One fault and its place in the file: "line 3", "rule 2"."""

    where: str
    why: str

    def __str__(self) -> str:
        return f"{self.where}: {self.why}"


class AccessError(BrokerError):
    """A file of users, rights or keys cannot be used; it grants nobody anything."""

    def __init__(self, path: object, problems: Sequence[AccessProblem | str]) -> None:
        told = "; ".join(str(each) for each in problems[:SHOWN])
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        super().__init__(f"cannot use {path}: {told}{more}")
        self.problems = tuple(problems)
