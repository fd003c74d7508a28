"""Applies the rules for registering, reading, associating and removing nodes."""

import logging
from dataclasses import replace
from http import HTTPStatus
from typing import Protocol

from cloud.discovery.directory import NodeDirectory
from cloud.errors import ProblemError
from cloud.storage.ports import AccountStore, NodeStore
from cloud.storage.records import NewerClaim
from cloud.tokens.access import ASSOCIATE, CLUSTERS, NODE, READ_ACCOUNT_KEY, CloudCaller
from protocol.errors import TokenError, WireError
from protocol.geo.position import Position
from protocol.keys import load_sealing_public
from protocol.memberships import HolderStatement, SepClaim, read_membership
from protocol.records import Address, NodeRecord, Registration

logger = logging.getLogger(__name__)

PROXY = "proxy"
NEAR_LIMIT = 1000  # nodes in one answer
STALE_CLAIM = "stale_claim"  # the error code of a refused registration


class NodesAndAccounts(NodeStore, AccountStore, Protocol):
    """The part of the store that the registry uses."""


class NodeRegistry:
    """Applies the rules of mDS to the stored node records."""

    def __init__(
        self, store: NodesAndAccounts, directory: NodeDirectory, public_url: str, node_limit: int
    ) -> None:
        self._store, self._directory = store, directory
        self._public_url, self._node_limit = public_url, node_limit

    async def register(
        self, caller: CloudCaller, registration: Registration, now: float
    ) -> NodeRecord:
        """Store a record that its node has signed and sends itself; return it as others read it.

        A node that its SEP holder does not vouch for is its own supernode: else a stranger could
        have requests for its own node sent over the connection of a foreign node.
        """
        record = registration.record
        caller.require_node(record.node_id)
        try:
            load_sealing_public(record.sealing_key)
        except WireError as exc:
            raise ProblemError(HTTPStatus.BAD_REQUEST, str(exc)) from exc
        membership = _check_membership(registration, now)
        if membership is None and record.holder_id != record.node_id:
            record = replace(record, supernode_id=record.node_id, sep_holder_id="")
        claim = membership.claim if membership is not None else registration.claim
        stored = await self._store.save_node(
            self._with_sep_address(record),
            now,
            self._node_limit,
            membership.until if membership is not None else 0.0,
            claim,
        )
        if isinstance(stored, NewerClaim):
            raise _stale(claim, stored)
        if stored is None:
            raise ProblemError(
                HTTPStatus.INSUFFICIENT_STORAGE,
                f"cannot register node: {self._node_limit} are registered, "
                "which is [mds] node_limit",
            )
        self._directory.put(stored.node_id, stored.account_id)
        logger.info("node %s (%r) registered", record.node_id[:12], record.name)
        return stored

    async def account_nodes(self, caller: CloudCaller) -> list[NodeRecord]:
        """Return the nodes of the caller's account; of a node without one, itself."""
        caller.require(CLUSTERS)
        account_id = await self.account_of(caller)
        if account_id:
            return await self._store.nodes_of(account_id)
        own = await self._store.node(caller.node_id) if caller.is_node else None
        return [own] if own else []

    async def near_nodes(
        self, caller: CloudCaller, center: Position | None, radius_m: float
    ) -> list[tuple[float, NodeRecord]]:
        """Return nodes of the caller's account with their distance in metres, the nearest first.

        Positions are for the account alone: a stranger's node is never near. Without a center, it
        is the position of the calling node.
        """
        nodes = await self.account_nodes(caller)
        if center is None:
            own = next((n for n in nodes if n.node_id == caller.node_id), None)
            center = own.position if own is not None else None
        if center is None:
            raise ProblemError(
                HTTPStatus.CONFLICT,
                "cannot list nodes nearby: the calling node has no position; set [node] position "
                "at the node, or call updateGps; others give latitude and longitude",
            )
        placed = [(center.distance_m(n.position), n) for n in nodes if n.position is not None]
        near = [each for each in placed if each[0] <= radius_m]
        return sorted(near, key=lambda each: (each[0], each[1].node_id))[:NEAR_LIMIT]

    async def visible(self, caller: CloudCaller, node_id: str) -> NodeRecord:
        """Return a record that the caller may see; ProblemError if there is none."""
        caller.require(CLUSTERS)
        record = await self._store.node(node_id)
        account_id = await self.account_of(caller)
        if record is None or not (
            (caller.is_node and record.node_id == caller.node_id)
            or (account_id and record.account_id == account_id)
        ):
            # One answer for both: a caller that may not see a node does not learn that it exists.
            raise ProblemError(
                HTTPStatus.NOT_FOUND, "cannot find node: not known, or of another account"
            )
        return record

    async def remove(self, caller: CloudCaller, node_id: str) -> None:
        """Delete a node, for the node itself or for its account with the right to associate."""
        caller.require(NODE if caller.is_node else ASSOCIATE)
        account_id = await self._store.account_of(node_id)
        if caller.is_node:
            caller.require_node(node_id)
        elif account_id != caller.subject:
            raise ProblemError(
                HTTPStatus.NOT_FOUND, "cannot find node: not known, or of another account"
            )
        if not await self._store.delete_node(node_id):
            raise ProblemError(
                HTTPStatus.NOT_FOUND, "cannot find node: not known, or of another account"
            )
        self._directory.remove(node_id)
        logger.info("node %s removed", node_id[:12])

    async def associate(self, caller: CloudCaller, node_id: str) -> str:
        """Make a node a member of the caller's account; return the account's id."""
        caller.require(ASSOCIATE)
        if caller.is_node or caller.node_id != node_id:
            raise ProblemError(
                HTTPStatus.FORBIDDEN,
                "cannot associate node: needs an account's access token that is bound to the node "
                "(give mID the node's edge_id_token)",
            )
        if not await self._store.associate(node_id, caller.subject):
            raise ProblemError(
                HTTPStatus.CONFLICT,
                "cannot associate node: not registered, or a member of another account",
            )
        self._directory.put(node_id, caller.subject)
        logger.info("node %s is now a member of account %s", node_id[:12], caller.subject)
        return caller.subject

    async def account_key(self, caller: CloudCaller) -> bytes:
        """Return the key that the members of the calling node's account share."""
        caller.require(READ_ACCOUNT_KEY)
        caller.require_node(caller.subject)
        account_id = await self._store.account_of(caller.node_id)
        key = await self._store.account_key(account_id)
        if key is None:
            raise ProblemError(
                HTTPStatus.CONFLICT, "cannot give account key: the node is not in an account"
            )
        return key

    async def account_of(self, caller: CloudCaller) -> str:
        """Return the account the caller acts for, "" for none."""
        if not caller.is_node:
            return caller.subject
        return await self._store.account_of(caller.node_id)

    def _with_sep_address(self, record: NodeRecord) -> NodeRecord:
        # The cloud sets the SEP URL and ignores that of the record.
        others = tuple(address for address in record.addresses if address.kind != PROXY)
        sep = Address(PROXY, f"{self._public_url}/sep/{record.node_id}")
        return replace(record, addresses=(*others, sep))


def _check_membership(registration: Registration, now: float) -> HolderStatement | None:
    """Return the statement of a node's SEP holder; None when there is none that counts."""
    record = registration.record
    if record.holder_id == record.node_id:
        return None
    try:
        found = read_membership(registration.membership, now)
    except TokenError as exc:
        logger.info("node %s is its own supernode: %s", record.node_id[:12], exc)
        return None
    if (found.holder_id, found.node_id) != (record.holder_id, record.node_id):
        logger.info("node %s is its own supernode: statement of others", record.node_id[:12])
        return None
    return found


def _stale(claim: SepClaim | None, known: NewerClaim) -> ProblemError:
    shown = f"epoch {claim.epoch}, number {claim.number}" if claim is not None else "none"
    return ProblemError(
        HTTPStatus.CONFLICT,
        f"cannot register node: its claim of the SEP ({shown}) is older than one that it has "
        f"registered with (epoch {known.epoch}, number {known.number}); raise the epoch above it",
        error=STALE_CLAIM,
        epoch=known.epoch,
        number=known.number,
    )
