"""Stores roll-outs on disk: the coordinating node goes on with them after a restart.

A node that carries out orders of others stores their codes, so that a restart forgets none.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.errors import GatewayError
from gateway.services.rollouts.plan import (
    NodeProgress,
    RolloutNodeState,
    RolloutPlan,
)
from gateway.storage.database import LocalDatabase

FILE_NAME = "rollouts.db"
FORGOTTEN = b""  # the id of a code that stands for those that have expired: its expiry is the last
MIGRATIONS = (
    """
    CREATE TABLE rollout (
        rollout_id TEXT PRIMARY KEY, client_id TEXT NOT NULL, name TEXT NOT NULL,
        image_id TEXT NOT NULL, digest TEXT NOT NULL, env TEXT NOT NULL, created REAL NOT NULL,
        wave INTEGER NOT NULL, failures_allowed REAL NOT NULL, cancelled INTEGER NOT NULL,
        nodes TEXT NOT NULL);
    """,
    "CREATE TABLE used_code (code_id BLOB PRIMARY KEY, expires REAL NOT NULL);",
)


@dataclass(frozen=True, slots=True)
class Rollout:
    """A container that is rolled out to nodes."""

    rollout_id: str
    client_id: str
    name: str
    image_id: str
    digest: str
    created: float  # unix seconds
    plan: RolloutPlan
    env: Mapping[str, str] = field(default_factory=dict, repr=False)


class RolloutStore:
    """The file of roll-outs; it is made with the first one."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._database: LocalDatabase | None = None
        self._opening = asyncio.Lock()  # of two roll-outs that come at once, one opens the file

    async def load(self) -> list[Rollout]:
        """Return all roll-outs, the oldest first."""
        if not self._path.exists():
            return []
        database = await self._open()
        rows = await database.read("SELECT * FROM rollout ORDER BY created")
        return [_rollout(row) for row in rows]

    async def put(self, rollout: Rollout) -> None:
        """Add or replace a roll-out."""
        plan = rollout.plan
        nodes = [
            [n.node_id, n.state.value, n.error, n.changed, n.tries, n.due] for n in plan.nodes
        ]  # fmt: skip
        values = (
            rollout.rollout_id, rollout.client_id, rollout.name, rollout.image_id, rollout.digest,
            json.dumps(dict(rollout.env)), rollout.created, plan.wave, plan.failures_allowed,
            plan.cancelled, json.dumps(nodes),
        )  # fmt: skip
        sql = "INSERT OR REPLACE INTO rollout VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        await (await self._open()).write((sql, values))

    async def drop(self, rollout_id: str) -> None:
        """Delete a roll-out."""
        sql = "DELETE FROM rollout WHERE rollout_id = ?"
        await (await self._open()).write((sql, (rollout_id,)))

    async def codes(self) -> list[tuple[bytes, float]]:
        """Return the codes of orders that have come, and their expiries."""
        if not self._path.exists():
            return []
        rows = await (await self._open()).read("SELECT code_id, expires FROM used_code")
        return [(bytes(code_id), float(expires)) for code_id, expires in rows]

    async def put_code(self, code_id: bytes, expires: float, forgotten_before: float) -> None:
        """Add the code of an order; let one with the id FORGOTTEN stand for the expired ones."""
        stand_for = (
            "INSERT OR REPLACE INTO used_code SELECT X'', newest FROM "
            "(SELECT max(expires) AS newest FROM used_code WHERE expires < ? OR code_id = X'') "
            "WHERE newest IS NOT NULL"
        )
        forget = "DELETE FROM used_code WHERE expires < ? AND code_id != X''"
        await (await self._open()).write(
            (stand_for, (forgotten_before,)),
            (forget, (forgotten_before,)),
            ("INSERT OR REPLACE INTO used_code VALUES (?, ?)", (code_id, expires)),
        )

    async def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            await self._database.close()

    async def _open(self) -> LocalDatabase:
        async with self._opening:
            if self._database is None:
                database = LocalDatabase(self._path, MIGRATIONS)
                try:
                    await database.open()
                except GatewayError:  # the next caller tries again
                    await database.close()
                    raise
                self._database = database
            return self._database


def _rollout(row: tuple[str, ...]) -> Rollout:
    (
        rollout_id, client_id, name, image_id, digest, env, created, wave, failures, cancelled,
        nodes,
    ) = row  # fmt: skip
    progress = [
        NodeProgress(node_id, RolloutNodeState(state), error, changed, tries, due)
        for node_id, state, error, changed, tries, due in json.loads(nodes)
    ]
    plan = RolloutPlan(progress, int(wave), float(failures), cancelled=bool(cancelled))
    return Rollout(
        rollout_id, client_id, name, image_id, digest, float(created), plan, json.loads(env)
    )
