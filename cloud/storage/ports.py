"""Defines what each service needs of a store.

Every method may wait, so that a database on another machine can be an adapter. Every method
raises cloud.errors.StoreError when the store does not work; no error of a database passes it.
`now` is Unix time in seconds. A write has reached the disk when its method returns.
"""

from typing import Protocol

from cloud.storage.records import Bep, DeviceGrant, NewerClaim, RelayAddress
from protocol.memberships import SepClaim
from protocol.records import NodeRecord


class AccountStore(Protocol):
    """Accounts, by the person that an identity provider names."""

    async def account_for(self, issuer: str, subject: str, now: float) -> str:
        """Return the account of a person, made at the first login."""

    async def account_key(self, account_id: str) -> bytes | None:
        """Return the key that members of an account share."""


class NodeStore(Protocol):
    """Node records, and the account that each node belongs to."""

    async def save_node(
        self,
        record: NodeRecord,
        now: float,
        limit: int,
        vouched_until: float = 0.0,
        claim: SepClaim | None = None,
    ) -> NodeRecord | NewerClaim | None:
        """Store a record, keeping the node's account; None when there are too many nodes.

        The SEP holder of a member vouches for it until a time; then it is its own supernode again.
        A claim that is older than the node's last one changes nothing: the last one is returned.
        """

    async def node(self, node_id: str) -> NodeRecord | None:
        """Return a node's record."""

    async def account_of(self, node_id: str) -> str:
        """Return the account a node belongs to, "" for none."""

    async def nodes_of(self, account_id: str) -> list[NodeRecord]:
        """Return the records of an account's nodes."""

    async def node_accounts(self) -> dict[str, str]:
        """Return the account of every node, "" for none, by node id."""

    async def associate(self, node_id: str, account_id: str) -> bool:
        """Make a node a member of an account; False when it is one of another or not known."""

    async def delete_node(self, node_id: str) -> bool:
        """Delete a node; False when it is not known. It no longer vouches for its members."""


class BepStore(Protocol):
    """BEPs, until their tokens have expired."""

    async def add_bep(self, bep: Bep, now: float, limit: int) -> bool:
        """Store a BEP; False when its node has too many that live."""

    async def beps_of(self, node_id: str, now: float) -> list[Bep]:
        """Return a node's BEPs that live."""

    async def beps_at(self, relay: RelayAddress, now: float) -> list[Bep]:
        """Return the BEPs that live at a relay."""

    async def orphaned_beps(self, now: float) -> list[Bep]:
        """Return the BEPs that live though their node is deleted."""

    async def count_beps(self, now: float) -> int:
        """Return how many BEPs live."""

    async def count_recent_beps(self, node_id: str, now: float) -> int:
        """Return how many BEPs of a node have not expired, those that have ended included."""

    async def revoke_bep(self, bep_id: str, node_id: str) -> bool:
        """Mark a node's BEP as revoked; False when the node has no such BEP that lives."""

    async def revoked_beps(self, now: float) -> list[str]:
        """Return the revoked BEPs whose tokens have not expired; a new relay must refuse them."""


class AssertionStore(Protocol):
    """Assertions of nodes, each of which is good once."""

    async def use_once(self, node_id: str, jti: str, expires_at: float) -> bool:
        """Record the use of an assertion; False when it was used before."""


class DeviceGrantStore(Protocol):
    """Grants of device authorisation that wait for a person or for their node (RFC 8628)."""

    async def add_grant(self, grant: DeviceGrant, now: float, limit: int) -> bool:
        """Store a grant in place of its node's earlier one; False when too many wait."""

    async def decide_grant(
        self, user_code: str, account_id: str, now: float, *, allow: bool
    ) -> DeviceGrant | None:
        """Record the decision of an account about a code; None when no node waits with it."""

    async def take_grant(self, device_digest: str, now: float) -> DeviceGrant | None:
        """Return a grant; one that is decided or has expired is deleted."""


class StoreUpkeep(Protocol):
    """Care of the store as a whole."""

    async def ping(self) -> None:
        """Return if the store answers; StoreError if not."""

    async def purge(self, now: float, margin_s: float) -> None:
        """Delete records that expired more than a margin ago; end expired vouching."""


class CloudStore(
    AccountStore, NodeStore, BepStore, AssertionStore, DeviceGrantStore, StoreUpkeep, Protocol
):
    """The whole store of a cloud."""
