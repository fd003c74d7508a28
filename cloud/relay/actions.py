"""Defines the actions that the state of the relay can request of its I/O."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from protocol.preface import FrameType, PrefaceStatus

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class AnswerPreface(Generic[C]):
    """Send the status byte; close unless it is ACCEPTED."""

    connection: C
    status: PrefaceStatus


@dataclass(frozen=True, slots=True)
class SendFrame(Generic[C]):
    """Send a frame on a control connection."""

    control: C
    kind: FrameType
    value: int


@dataclass(frozen=True, slots=True)
class Join(Generic[C]):
    """Join a visitor with an accepted data connection."""

    visitor: C
    data: C


@dataclass(frozen=True, slots=True)
class Reject(Generic[C]):
    """Answer a visitor with an HTTP problem, then close."""

    visitor: C
    status: int
    why: str


@dataclass(frozen=True, slots=True)
class Close(Generic[C]):
    """Close a control or ready connection."""

    connection: C


@dataclass(frozen=True, slots=True)
class Cut(Generic[C]):
    """End a joined visitor's stream now."""

    visitor: C


Action = AnswerPreface[C] | SendFrame[C] | Join[C] | Reject[C] | Close[C] | Cut[C]
