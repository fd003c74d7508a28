"""Places BEPs: gives a node the address of a relay and the token to serve there, and revokes both.

A BEP counts against its node's limit only while the node may serve it. It ends when it expires,
when its node ends it or starts again (a node names its process, the run, with every BEP), when
the relay has ended it, or when the node does not connect to serve it.
"""

import logging
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

from cloud.config import SignallingSettings
from cloud.errors import ProblemError
from cloud.signalling.ports import BepsAndNodes, RelayPort
from cloud.signalling.unserved import Unserved
from cloud.storage.records import Bep
from cloud.tokens.issuer import Issuer
from protocol.ids import new_bep_id
from settings.addresses import format_address

logger = logging.getLogger(__name__)

# An ended BEP is remembered until its token expires, here and at the relay. The relay remembers a
# bounded number for all nodes: one node may not push out the ended BEPs of the others.
ENDED_PER_BEP = 64


@dataclass(frozen=True, slots=True)
class Grant:
    """A BEP and the token to serve it."""

    bep: Bep
    token: str = field(repr=False)

    def answer(self) -> dict[str, Any]:
        """Return the fields of the answer to the node."""
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


def choose_ttl(asked_s: float | None, settings: SignallingSettings) -> float:
    """Return the lifetime of a BEP; ProblemError when more is asked than is allowed."""
    if asked_s is None:
        return settings.bep_ttl_s
    if not 1 <= asked_s <= settings.bep_ttl_limit_s:
        raise ProblemError(
            HTTPStatus.BAD_REQUEST,
            f"cannot make BEP: ttl_s must be from 1 to {settings.bep_ttl_limit_s:.0f}",
        )
    return asked_s


class Placing:
    """Makes and revokes BEPs at one relay."""

    def __init__(
        self,
        store: BepsAndNodes,
        issuer: Issuer,
        relay: RelayPort,
        settings: SignallingSettings,
    ) -> None:
        self._store, self._issuer = store, issuer
        self._relay, self._settings = relay, settings
        self._unserved = Unserved()

    async def place(self, node_id: str, ttl_s: float | None, run: str, now: float) -> Grant:
        """Return a new BEP for a node; those of its earlier runs end.

        Raises:
            ProblemError: the node is not registered, has too many or asks for too long.
        """
        if await self._store.node(node_id) is None:
            raise ProblemError(HTTPStatus.CONFLICT, "cannot make BEP: the node is not registered")
        expires_at = now + choose_ttl(ttl_s, self._settings)
        if run:
            await self.revoke_all(node_id, now, keep_run=run)
        bep = Bep(new_bep_id(), node_id, self._relay.address, expires_at, run)
        limit = self._settings.bep_limit_node
        if await self._store.count_recent_beps(node_id, now) >= ENDED_PER_BEP * limit:
            raise ProblemError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"cannot make BEP: this node has had {ENDED_PER_BEP * limit} that would not have "
                "expired yet; use each for longer, or wait",
            )
        if not await self._store.add_bep(bep, now, limit):
            raise ProblemError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"cannot make BEP: this node has {limit}; end one there with `hecate beps end ID`, "
                "or wait until one expires",
            )
        logger.info("placed a BEP for node %s for %.0f s", node_id[:12], expires_at - now)
        return Grant(bep, self._issuer.for_relay(bep, now))

    async def beps_of(self, node_id: str, now: float) -> list[Bep]:
        """Return a node's BEPs that live; the relay's TLS is that of its last start."""
        tls = self._relay.address.tls
        return [
            replace(bep, relay=replace(bep.relay, tls=tls))
            for bep in await self._store.beps_of(node_id, now)
        ]

    async def revoke(self, bep_id: str, node_id: str) -> None:
        """End a node's BEP and cut its streams; ProblemError when the node has no such BEP."""
        if not await self._end(bep_id, node_id):
            raise ProblemError(HTTPStatus.NOT_FOUND, "cannot delete BEP: this node has no such BEP")
        logger.info("revoked a BEP of node %s", node_id[:12])

    async def revoke_all(self, node_id: str, now: float, keep_run: str = "") -> None:
        """End every BEP of a node, or those of its earlier runs."""
        beps = await self._store.beps_of(node_id, now)
        to_end = [bep for bep in beps if not keep_run or bep.run != keep_run]
        for bep in to_end:
            await self._end(bep.bep_id, node_id)
        if to_end:
            logger.info("ended %d BEPs of node %s", len(to_end), node_id[:12])

    async def sweep(self, wall: float, now: float) -> None:
        """End the BEPs of the relay that no node serves, and those whose node is deleted."""
        beps = await self._store.beps_at(self._relay.address, wall)
        stored = {bep.bep_id: bep.node_id for bep in beps}
        for bep_id in self._unserved.find(stored, await self._relay.served(), now):
            if await self._end(bep_id, stored[bep_id]):
                logger.info("ended a BEP that node %s no longer serves", stored[bep_id][:12])
        for bep in await self._store.orphaned_beps(wall):  # deleted while a BEP was made
            await self._end(bep.bep_id, bep.node_id)

    async def _end(self, bep_id: str, node_id: str) -> bool:
        if not await self._store.revoke_bep(bep_id, node_id):
            return False
        await self._relay.revoke(bep_id)
        return True
