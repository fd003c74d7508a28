"""Keeps the records of a cloud in memory: the test double of the ports of the store."""

from dataclasses import replace

from cloud.storage.records import Bep, DeviceGrant, NewerClaim, RelayAddress
from protocol.memberships import SepClaim
from protocol.records import NodeRecord


class MemoryStore:
    """A store that forgets at the end of the test; implements cloud.storage.ports.CloudStore."""

    def __init__(self) -> None:
        self._accounts: dict[tuple[str, str], str] = {}
        self._nodes: dict[str, NodeRecord] = {}
        self._vouched_until: dict[str, float] = {}
        self._claims: dict[str, tuple[int, int]] = {}
        self._beps: dict[str, Bep] = {}
        self._revoked: set[str] = set()
        self._used: dict[tuple[str, str], float] = {}
        self._grants: dict[str, DeviceGrant] = {}

    def close(self) -> None:
        """Do nothing."""

    async def ping(self) -> None:
        """Do nothing."""

    async def account_for(self, issuer: str, subject: str, now: float) -> str:  # noqa: ARG002
        """Return the account of a person, made at the first login."""
        return self._accounts.setdefault((issuer, subject), f"acc-{len(self._accounts):016x}")

    async def account_key(self, account_id: str) -> bytes | None:
        """Return the key that members of an account share."""
        known = account_id in self._accounts.values()
        return account_id.encode().ljust(32, b"\0")[:32] if known else None

    async def save_node(
        self,
        record: NodeRecord,
        now: float,  # noqa: ARG002
        limit: int,
        vouched_until: float = 0.0,
        claim: SepClaim | None = None,
    ) -> NodeRecord | NewerClaim | None:
        """Store a record, keeping the node's account; None when there are too many nodes."""
        known = self._nodes.get(record.node_id)
        if known is None and len(self._nodes) >= limit:
            return None
        if claim is not None:
            newest = self._claims.get(record.node_id, claim.order)
            if claim.order < newest:
                return NewerClaim(*newest)
            self._claims[record.node_id] = claim.order
        stored = record.with_account(known.account_id if known else "")
        self._nodes[record.node_id] = stored
        self._vouched_until[record.node_id] = vouched_until
        return stored

    async def node(self, node_id: str) -> NodeRecord | None:
        """Return a node's record."""
        return self._nodes.get(node_id)

    async def account_of(self, node_id: str) -> str:
        """Return the account a node belongs to, "" for none."""
        record = self._nodes.get(node_id)
        return record.account_id if record else ""

    async def nodes_of(self, account_id: str) -> list[NodeRecord]:
        """Return the records of an account's nodes."""
        return [
            self._nodes[i] for i in sorted(self._nodes) if self._nodes[i].account_id == account_id
        ]

    async def node_accounts(self) -> dict[str, str]:
        """Return the account of every node, "" for none, by node id."""
        return {node_id: record.account_id for node_id, record in self._nodes.items()}

    async def associate(self, node_id: str, account_id: str) -> bool:
        """Make a node a member of an account; False when it is one of another or not known."""
        record = self._nodes.get(node_id)
        if record is None or record.account_id not in ("", account_id):
            return False
        self._nodes[node_id] = record.with_account(account_id)
        return True

    async def delete_node(self, node_id: str) -> bool:
        """Delete a node; False when it is not known. It no longer vouches for its members."""
        for member in [i for i, record in self._nodes.items() if record.holder_id == node_id]:
            self._end_vouching(member)
        self._claims.pop(node_id, None)
        return self._nodes.pop(node_id, None) is not None

    async def add_bep(self, bep: Bep, now: float, limit: int) -> bool:
        """Store a BEP; False when its node has too many that live."""
        if len(self._living(bep.node_id, now)) >= limit:
            return False
        self._beps[bep.bep_id] = bep
        return True

    async def beps_of(self, node_id: str, now: float) -> list[Bep]:
        """Return a node's BEPs that live."""
        return sorted(self._living(node_id, now), key=lambda bep: (bep.expires_at, bep.bep_id))

    async def beps_at(self, relay: RelayAddress, now: float) -> list[Bep]:
        """Return the BEPs that live at a relay."""
        place = (relay.host, relay.port)
        return [b for b in self._all_living(now) if (b.relay.host, b.relay.port) == place]

    async def orphaned_beps(self, now: float) -> list[Bep]:
        """Return the BEPs that live though their node is deleted."""
        return [bep for bep in self._all_living(now) if bep.node_id not in self._nodes]

    async def count_beps(self, now: float) -> int:
        """Return how many BEPs live."""
        return len(self._all_living(now))

    async def count_recent_beps(self, node_id: str, now: float) -> int:
        """Return how many BEPs of a node have not expired, those that have ended included."""
        return sum(b.node_id == node_id and b.expires_at > now for b in self._beps.values())

    async def revoke_bep(self, bep_id: str, node_id: str) -> bool:
        """Mark a node's BEP as revoked; False when the node has no such BEP that lives."""
        bep = self._beps.get(bep_id)
        if bep is None or bep.node_id != node_id or bep_id in self._revoked:
            return False
        self._revoked.add(bep_id)
        return True

    async def revoked_beps(self, now: float) -> list[str]:
        """Return the revoked BEPs whose tokens have not expired."""
        return [i for i in self._revoked if i in self._beps and self._beps[i].expires_at > now]

    async def use_once(self, node_id: str, jti: str, expires_at: float) -> bool:
        """Record the use of an assertion; False when it was used before."""
        is_new = (node_id, jti) not in self._used
        self._used.setdefault((node_id, jti), expires_at)
        return is_new

    async def add_grant(self, grant: DeviceGrant, now: float, limit: int) -> bool:
        """Store a grant in place of its node's earlier one; False when too many wait."""
        self._grants = {
            digest: each
            for digest, each in self._grants.items()
            if each.expires_at > now and each.node_id != grant.node_id
        }
        if len(self._grants) >= limit:
            return False
        self._grants[grant.device_digest] = grant
        return True

    async def decide_grant(
        self, user_code: str, account_id: str, now: float, *, allow: bool
    ) -> DeviceGrant | None:
        """Record the decision of an account about a code; None when no node waits with it."""
        for digest, grant in self._grants.items():
            is_open = grant.expires_at > now and not grant.account_id and not grant.denied
            if grant.user_code == user_code and is_open:
                decided = replace(grant, account_id=account_id if allow else "", denied=not allow)
                self._grants[digest] = decided
                return decided
        return None

    async def take_grant(self, device_digest: str, now: float) -> DeviceGrant | None:
        """Return a grant; one that is decided or has expired is deleted."""
        grant = self._grants.get(device_digest)
        if grant and (grant.account_id or grant.denied or grant.expires_at <= now):
            del self._grants[device_digest]
        return grant

    async def purge(self, now: float, margin_s: float) -> None:
        """Delete records that expired more than a margin ago; end expired vouching."""
        end = now - margin_s
        for node_id, until in tuple(self._vouched_until.items()):
            if until < now:
                self._end_vouching(node_id)
        self._used = {key: expires for key, expires in self._used.items() if expires >= end}
        self._beps = {i: bep for i, bep in self._beps.items() if bep.expires_at >= end}
        self._grants = {d: grant for d, grant in self._grants.items() if grant.expires_at >= end}

    def _end_vouching(self, node_id: str) -> None:
        if self._vouched_until.get(node_id) and node_id in self._nodes:
            self._nodes[node_id] = replace(
                self._nodes[node_id], supernode_id=node_id, sep_holder_id=""
            )
            self._vouched_until[node_id] = 0.0

    def _all_living(self, now: float) -> list[Bep]:
        return [
            bep
            for bep in self._beps.values()
            if bep.bep_id not in self._revoked and bep.expires_at > now
        ]

    def _living(self, node_id: str, now: float) -> list[Bep]:
        return [bep for bep in self._all_living(now) if bep.node_id == node_id]
