"""Defines the values of the spool."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

Done = Callable[[bool], None]

ROW_OVERHEAD_BYTES = 32  # measured: page bytes per row beyond topic and payload
LATEST = 8  # messages set aside, in the status
REASON_CHARACTERS = 200


class WhenFull(StrEnum):
    """The rule of a full spool; the broker of this node delivers a message in any case."""

    REFUSE = "refuse"  # the spool drops the newest; MQTT 5 senders get reason code 0x97
    DROP_NEWEST = "drop_newest"  # the spool drops the newest; the sender gets a success
    DROP_OLDEST = "drop_oldest"  # the spool deletes the oldest


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
        """The size of the message against the limit of the spool."""
        return len(self.topic) + len(self.payload) + ROW_OVERHEAD_BYTES


@dataclass(frozen=True, slots=True)
class SetAsideMessage:
    """One message that the cloud refuses."""

    topic: str
    reason: str
    size: int
    at: float


@dataclass(frozen=True, slots=True)
class SpoolContents:
    """The contents of the file."""

    messages: int = 0
    bytes: int = 0
    aside: int = 0
    latest: tuple[SetAsideMessage, ...] = ()  # newest first


@dataclass(frozen=True, slots=True)
class WriteBatch:
    """The changes of one transaction, which a full disk may split."""

    appends: list[Append] = field(default_factory=list)
    asides: list[tuple[int, str]] = field(default_factory=list)  # row ids and reasons
    unstored: list[tuple[Append, str]] = field(
        default_factory=list
    )  # set aside without a row of their own
    watermark: int = 0  # delete up to this row id
    now: float = 0.0  # unix seconds


@dataclass(frozen=True, slots=True)
class WriteResult:
    """The result of a batch."""

    held: SpoolContents
    stored: list[bool]  # per append
    dropped_oldest: int = 0
    error: str = ""
    is_rest_done: bool = True  # all but the appends is done


@dataclass(frozen=True, slots=True)
class SpoolStatus:
    """The contents of the spool and its counters since the start."""

    messages: int = 0
    bytes: int = 0
    limit_bytes: int = 0
    when_full: str = ""
    full: bool = False
    error: str = ""  # of the last write
    refused: int = 0  # newest messages that were dropped
    dropped_oldest: int = 0
    dropped: int = 0  # both, and QoS 0 messages while the link was down
    set_aside: int = 0  # in the file
    set_aside_total: int = 0
    latest: tuple[SetAsideMessage, ...] = ()
