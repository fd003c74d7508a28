"""Places BEPs: gives a node a relay's address and the token to serve there, and takes it back.

A BEP counts against its node's limit only while somebody may serve it. It ends when it expires,
when its node ends it or starts again (a node names its process, the run, with every BEP), when
the relay has ended it, or when nobody comes to serve it.
"""

import asyncio
import logging
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

from cloud.config import SignallingSettings
from cloud.errors import ProblemError
from cloud.relay import Relay
from cloud.signalling.bep import Bep, RelayAddress, choose_ttl
from cloud.signalling.unserved import Unserved
from cloud.storage.sqlite import CloudStore
from cloud.tokens.issuer import Issuer
from protocol.ids import new_bep_id
from settings.addresses import format_address

logger = logging.getLogger(__name__)

# An ended BEP is remembered until its token expires, here and at the relay, which remembers a
# bounded number of all nodes: one node may not push out what the others have ended.
ENDED_PER_BEP = 64


@dataclass(frozen=True, slots=True)
class Grant:
    """A BEP and the token to serve it."""

    bep: Bep
    token: str = field(repr=False)

    def answer(self) -> dict[str, Any]:
        """Return what the node is told."""
        return {**describe(self.bep), "token": self.token}


def describe(bep: Bep) -> dict[str, Any]:
    """Return a BEP as the API shows it."""
    relay = bep.relay
    scheme = "https" if relay.tls else "http"
    return {
        "id": bep.bep_id,
        "url": f"{scheme}://{format_address(relay.host, relay.port)}/{bep.bep_id}",
        "relay": {"host": relay.host, "port": relay.port} | ({"tls": True} if relay.tls else {}),
        "expires_at": bep.expires_at,
    }


class Placing:
    """Makes and revokes BEPs at the relay of this process."""

    def __init__(
        self,
        store: CloudStore,
        issuer: Issuer,
        relay: Relay,
        address: RelayAddress,
        settings: SignallingSettings,
    ) -> None:
        self._store, self._issuer = store, issuer
        self._relay, self._address, self._settings = relay, address, settings
        self._unserved = Unserved()

    async def place(self, node_id: str, ttl_s: float | None, run: str, now: float) -> Grant:
        """Return a new BEP for a node; those of its earlier runs end.

        Raises:
            ProblemError: the node is not registered, has too many or asks for too long.
        """
        if self._store.node(node_id) is None:
            raise ProblemError(HTTPStatus.CONFLICT, "cannot make BEP: the node is not registered")
        expires_at = now + choose_ttl(ttl_s, self._settings)
        if run:
            await self.revoke_all(node_id, now, keep_run=run)
        bep = Bep(new_bep_id(), node_id, self._address, expires_at, run)
        limit = self._settings.bep_limit_node
        if self._store.count_recent_beps(node_id, now) >= ENDED_PER_BEP * limit:
            raise ProblemError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"cannot make BEP: this node has had {ENDED_PER_BEP * limit} that would not have "
                "expired yet; use each for longer, or wait",
            )
        if not await asyncio.to_thread(self._store.add_bep, bep, now, limit):
            raise ProblemError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"cannot make BEP: this node has {limit}; end one there with `hecate beps end ID`, "
                "or wait until one expires",
            )
        logger.info("placed a BEP for node %s for %.0f s", node_id[:12], expires_at - now)
        return Grant(bep, self._issuer.for_relay(bep, now))

    def beps_of(self, node_id: str, now: float) -> list[Bep]:
        """Return a node's BEPs that live; the relay has TLS or not since its own start."""
        tls = self._address.tls
        return [
            replace(bep, relay=replace(bep.relay, tls=tls))
            for bep in self._store.beps_of(node_id, now)
        ]

    async def revoke(self, bep_id: str, node_id: str) -> None:
        """End a node's BEP and cut its streams; ProblemError when the node has no such BEP."""
        if not await self._end(bep_id, node_id):
            raise ProblemError(HTTPStatus.NOT_FOUND, "cannot delete BEP: this node has no such BEP")
        logger.info("revoked a BEP of node %s", node_id[:12])

    async def revoke_all(self, node_id: str, now: float, keep_run: str = "") -> None:
        """End every BEP of a node, or those of its earlier runs."""
        beps = self._store.beps_of(node_id, now)
        gone = [bep for bep in beps if not keep_run or bep.run != keep_run]
        for bep in gone:
            await self._end(bep.bep_id, node_id)
        if gone:
            logger.info("ended %d BEPs of node %s", len(gone), node_id[:12])

    async def sweep(self, wall: float, now: float) -> None:
        """End the BEPs of this process's relay that no node serves, and those of no node."""
        stored = {bep.bep_id: bep.node_id for bep in self._store.beps_at(self._address, wall)}
        served = {bep.id for bep in self._relay.beps()}
        for bep_id in self._unserved.find(stored, served, now):
            await self._end(bep_id, stored[bep_id])
            logger.info("ended a BEP that node %s no longer serves", stored[bep_id][:12])
        for bep in self._store.orphaned_beps(wall):  # forgotten while one was made
            await self._end(bep.bep_id, bep.node_id)

    async def _end(self, bep_id: str, node_id: str) -> bool:
        if not await asyncio.to_thread(self._store.revoke_bep, bep_id, node_id):
            return False
        self._relay.revoke(bep_id)
        return True
