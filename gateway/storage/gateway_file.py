"""Defines the format of gateway.db: devices, claim tokens and settings."""

from pathlib import Path

from gateway.storage.database import LocalDatabase

FILE_NAME = "gateway.db"

MIGRATIONS = (
    """
    CREATE TABLE IF NOT EXISTS devices (
        device_id    TEXT PRIMARY KEY,
        name         TEXT NOT NULL,
        model        TEXT NOT NULL,
        token_digest TEXT NOT NULL,
        joined_at    REAL NOT NULL,
        claim_digest TEXT NOT NULL,
        client_id    TEXT NOT NULL,
        confirmed    INTEGER NOT NULL,
        last_seen    REAL NOT NULL
    );
    CREATE TABLE IF NOT EXISTS claims (
        digest     TEXT PRIMARY KEY,
        uses       INTEGER NOT NULL,
        expires_at REAL NOT NULL
    );
    CREATE TABLE IF NOT EXISTS settings (
        name  TEXT PRIMARY KEY,
        value BLOB NOT NULL
    );
    """,
)


def gateway_database(state: Path) -> LocalDatabase:
    """Return the database of a state folder, not opened yet."""
    return LocalDatabase(state / FILE_NAME, MIGRATIONS)
