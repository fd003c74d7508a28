"""Bounds and reads the table of messages that the cloud refuses."""

import sqlite3

from gateway.spool.values import LATEST, SetAsideMessage

ASIDE_LIMIT_BYTES = 1024 * 1024  # of payloads set aside, in addition to the limit of the spool
ASIDE_LIMIT_MESSAGES = 1000

INSERT = (
    "INSERT INTO set_aside (topic, payload, retain, size, reason, at) VALUES (?, ?, ?, ?, ?, ?)"
)
MOVE = (
    "INSERT INTO set_aside (topic, payload, retain, size, reason, at)"
    " SELECT topic, payload, retain, size, ?, ? FROM spool WHERE row_id = ?"
)


def trim(database: sqlite3.Connection, limit_bytes: int) -> None:
    """Delete the oldest beyond the limits, and the payload of a message larger than half."""
    database.execute(
        "UPDATE set_aside SET payload = NULL WHERE length(payload) > ?", (limit_bytes // 2,)
    )
    rows = database.execute(
        "SELECT row_id, length(topic) + coalesce(length(payload), 0) FROM set_aside"
        " ORDER BY row_id DESC"
    ).fetchall()
    total = 0
    for count, (row_id, size) in enumerate(rows):
        total += size
        if count >= ASIDE_LIMIT_MESSAGES or total > limit_bytes:
            database.execute("DELETE FROM set_aside WHERE row_id <= ?", (row_id,))
            return


def read_latest(database: sqlite3.Connection) -> tuple[int, tuple[SetAsideMessage, ...]]:
    """Return the number of messages and the latest of them, newest first."""
    count = database.execute("SELECT count(*) FROM set_aside").fetchone()[0]
    latest = database.execute(
        "SELECT topic, reason, size, at FROM set_aside ORDER BY row_id DESC LIMIT ?", (LATEST,)
    )
    return count, tuple(SetAsideMessage(*row) for row in latest)
