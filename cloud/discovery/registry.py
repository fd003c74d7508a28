"""Who may register, see, associate and remove which node."""

import asyncio
import logging
from dataclasses import replace
from http import HTTPStatus

from cloud.errors import ProblemError
from cloud.store import Store
from cloud.tokens.access import ASSOCIATE, CLUSTERS, NODE, READ_ACCOUNT_KEY, Caller
from protocol.errors import TokenError, WireError
from protocol.keys import load_sealing_public
from protocol.records import Address, NodeRecord, check_membership

logger = logging.getLogger(__name__)

PROXY = "proxy"


class Registry:
    """mDS: the rules round the stored node records."""

    def __init__(self, store: Store, public_url: str, node_limit: int) -> None:
        self._store, self._public_url, self._node_limit = store, public_url, node_limit

    async def register(
        self, caller: Caller, record: NodeRecord, now: float, membership: str = ""
    ) -> NodeRecord:
        """Store a record that its node has signed and sends itself; return it as others see it.

        A node whose supernode does not vouch for it is its own supernode: else a stranger could
        send requests, for its own node, down the connection of somebody else's node.
        """
        caller.require_node(record.node_id)
        try:
            load_sealing_public(record.sealing_key)
        except WireError as exc:
            raise ProblemError(HTTPStatus.BAD_REQUEST, str(exc)) from exc
        vouched_until = _vouched_until(record, membership, now)
        if not record.is_supernode and not vouched_until:
            record = replace(record, supernode_id=record.node_id)
        complete = self._with_sep_address(record)
        stored = await asyncio.to_thread(
            self._store.save_node, complete, now, self._node_limit, vouched_until
        )
        if stored is None:
            raise ProblemError(
                HTTPStatus.INSUFFICIENT_STORAGE,
                f"cannot register node: {self._node_limit} are registered, "
                "which is [mds] node_limit",
            )
        logger.info("node %s (%r) registered", record.node_id[:12], record.name)
        return stored

    def account_nodes(self, caller: Caller) -> list[NodeRecord]:
        """Return the nodes of the caller's account; of a node without one, itself."""
        caller.require(CLUSTERS)
        account_id = self.account_of(caller)
        if account_id:
            return self._store.nodes_of(account_id)
        own = self._store.node(caller.node_id) if caller.is_node else None
        return [own] if own else []

    def visible(self, caller: Caller, node_id: str) -> NodeRecord:
        """Return a record that the caller may see; ProblemError if there is none."""
        caller.require(CLUSTERS)
        record = self._store.node(node_id)
        account_id = self.account_of(caller)
        if record is None or not (
            (caller.is_node and record.node_id == caller.node_id)
            or (account_id and record.account_id == account_id)
        ):
            # The same answer for both: who may not see a node does not learn that it exists.
            raise ProblemError(
                HTTPStatus.NOT_FOUND, "cannot find node: not known, or of another account"
            )
        return record

    async def remove(self, caller: Caller, node_id: str) -> None:
        """Forget a node: itself may ask, and its account with the right to associate."""
        caller.require(NODE if caller.is_node else ASSOCIATE)
        account_id = self._store.account_of(node_id)
        if caller.is_node:
            caller.require_node(node_id)
        elif account_id != caller.subject:
            raise ProblemError(
                HTTPStatus.NOT_FOUND, "cannot find node: not known, or of another account"
            )
        if not await asyncio.to_thread(self._store.delete_node, node_id):
            raise ProblemError(
                HTTPStatus.NOT_FOUND, "cannot find node: not known, or of another account"
            )
        logger.info("node %s removed", node_id[:12])

    async def associate(self, caller: Caller, node_id: str) -> str:
        """Make a node a member of the caller's account; return the account's id."""
        caller.require(ASSOCIATE)
        if caller.is_node or caller.node_id != node_id:
            raise ProblemError(
                HTTPStatus.FORBIDDEN,
                "cannot associate node: needs an account's access token that is bound to the node "
                "(give mID the node's edge_id_token)",
            )
        if not await asyncio.to_thread(self._store.associate, node_id, caller.subject):
            raise ProblemError(
                HTTPStatus.CONFLICT,
                "cannot associate node: not registered, or a member of another account",
            )
        logger.info("node %s is now a member of account %s", node_id[:12], caller.subject)
        return caller.subject

    def account_key(self, caller: Caller) -> bytes:
        """Return the key that the members of the calling node's account share."""
        caller.require(READ_ACCOUNT_KEY)
        caller.require_node(caller.subject)
        key = self._store.account_key(self._store.account_of(caller.node_id))
        if key is None:
            raise ProblemError(
                HTTPStatus.CONFLICT, "cannot give account key: the node is not in an account"
            )
        return key

    def account_of(self, caller: Caller) -> str:
        """Return the account the caller acts for, "" for none."""
        return self._store.account_of(caller.node_id) if caller.is_node else caller.subject

    def _with_sep_address(self, record: NodeRecord) -> NodeRecord:
        # The SEP URL is the cloud's to say, whatever the node says.
        others = tuple(address for address in record.addresses if address.kind != PROXY)
        sep = Address(PROXY, f"{self._public_url}/sep/{record.node_id}")
        return replace(record, addresses=(*others, sep))


def _vouched_until(record: NodeRecord, membership: str, now: float) -> float:
    """Return until when a record's supernode vouches for its node, 0.0 when it does not."""
    if record.is_supernode:
        return 0.0
    try:
        return check_membership(membership, record, now)
    except TokenError as exc:
        logger.info("node %s is its own supernode: %s", record.node_id[:12], exc)
        return 0.0
