"""Defines the format of gateway.db: devices and sensors, claim tokens, pending boards, settings."""

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
    """
    ALTER TABLE claims ADD COLUMN client_id TEXT NOT NULL DEFAULT '';
    ALTER TABLE devices ADD COLUMN groups TEXT NOT NULL DEFAULT '[]';
    ALTER TABLE devices ADD COLUMN attributes TEXT NOT NULL DEFAULT '{}';
    ALTER TABLE devices ADD COLUMN revoked_at REAL NOT NULL DEFAULT 0;
    ALTER TABLE devices ADD COLUMN token_made_at REAL NOT NULL DEFAULT 0;
    ALTER TABLE devices ADD COLUMN next_digest TEXT NOT NULL DEFAULT '';
    ALTER TABLE devices ADD COLUMN next_made_at REAL NOT NULL DEFAULT 0;
    ALTER TABLE devices ADD COLUMN certificates TEXT NOT NULL DEFAULT '[]';
    ALTER TABLE devices ADD COLUMN conflicts INTEGER NOT NULL DEFAULT 0;
    UPDATE devices SET token_made_at = joined_at;
    CREATE TABLE pending (
        digest     TEXT PRIMARY KEY,
        client_id  TEXT NOT NULL,
        code       TEXT NOT NULL,
        source     TEXT NOT NULL,
        first_at   REAL NOT NULL,
        asked_at   REAL NOT NULL,
        name       TEXT NOT NULL,
        model      TEXT NOT NULL,
        state      TEXT NOT NULL,
        device_id  TEXT NOT NULL,
        decided_at REAL NOT NULL
    );
    """,
    """
    CREATE TABLE sensors (
        device_id     TEXT PRIMARY KEY,
        address       TEXT NOT NULL UNIQUE,
        key           BLOB NOT NULL,
        trigger_based INTEGER NOT NULL,
        floor         INTEGER NOT NULL
    );
    """,
)


def gateway_database(state: Path) -> LocalDatabase:
    """Return the database of a state folder, not opened yet."""
    return LocalDatabase(state / FILE_NAME, MIGRATIONS)
