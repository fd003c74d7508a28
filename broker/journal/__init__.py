"""Stores the broker's state durably: sessions, queues, retained messages, delayed wills.

What is to survive is written as records (records.py) to a log of segments (segments.py, log.py)
by a thread of its own (writer.py), many appends at a time. The image (state.py) is what all
records add up to.
"""

from broker.journal.disk import Disk, RealDisk
from broker.journal.errors import JournalError
from broker.journal.items import StoredSession, StoredWill
from broker.journal.journal import Durability, Journal, JournalStatus
from broker.journal.open_report import OpenReport
from broker.journal.state import JournalState
from broker.journal.writer import JournalLimits

__all__ = [
    "Disk",
    "Durability",
    "Journal",
    "JournalError",
    "JournalLimits",
    "JournalState",
    "JournalStatus",
    "OpenReport",
    "RealDisk",
    "StoredSession",
    "StoredWill",
]
