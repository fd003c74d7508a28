"""Values of the spool."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

Done = Callable[[bool], None]

ROW_OVERHEAD_BYTES = 32  # measured: page bytes per row beyond topic and payload
LATEST = 8  # messages set aside that the status shows
REASON_CHARACTERS = 200


class WhenFull(StrEnum):
    """The rule of a full spool; a message is delivered on this node whatever the rule."""

    REFUSE = "refuse"  # the newest is not kept; MQTT 5 senders get reason code 0x97
    DROP_NEWEST = "drop_newest"  # the newest is not kept; its sender is acknowledged
    DROP_OLDEST = "drop_oldest"  # the oldest are deleted


class SpoolEntry(NamedTuple):
    """One stored message."""

    row_id: int
    topic: str
    payload: bytes
    retain: bool


class Append(NamedTuple):
    """One message to store."""

    topic: str
    payload: bytes
    retain: bool
    done: Done

    @property
    def size(self) -> int:
        """What it counts in the spool."""
        return len(self.topic) + len(self.payload) + ROW_OVERHEAD_BYTES


@dataclass(frozen=True, slots=True)
class SetAsideMessage:
    """One message that the cloud does not take."""

    topic: str
    reason: str
    size: int
    at: float


@dataclass(frozen=True, slots=True)
class SpoolContents:
    """What the file holds."""

    messages: int = 0
    bytes: int = 0
    aside: int = 0
    latest: tuple[SetAsideMessage, ...] = ()  # newest first


@dataclass(slots=True)
class WriteBatch:
    """What is written together, in one transaction where the disk allows."""

    appends: list[Append] = field(default_factory=list)
    asides: list[tuple[int, str]] = field(default_factory=list)  # rows, and why
    unstored: list[tuple[Append, str]] = field(default_factory=list)  # set aside at once
    watermark: int = 0
    now: float = 0.0


@dataclass(slots=True)
class WriteResult:
    """What a round has done."""

    held: SpoolContents
    stored: list[bool]  # per append
    dropped_oldest: int = 0
    error: str = ""
    is_rest_done: bool = True  # what the cloud has is deleted, what it does not take is set aside


@dataclass(frozen=True, slots=True)
class SpoolStatus:
    """What the spool holds now, and what it counted since the start."""

    messages: int = 0
    bytes: int = 0
    limit_bytes: int = 0
    when_full: str = ""
    full: bool = False
    error: str = ""  # why the disk cannot be written
    refused: int = 0  # newest ones that were not kept
    dropped_oldest: int = 0
    dropped: int = 0  # both, and QoS 0 messages while the link was down
    set_aside: int = 0  # kept as set aside
    set_aside_total: int = 0
    latest: tuple[SetAsideMessage, ...] = ()
