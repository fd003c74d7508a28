"""Encodes, signs and checks node records: public descriptions of nodes, signed by themselves.

Field names are those of the HTTP API (docs/protocol.md), so that callers get a record unchanged.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from protocol.errors import TokenError, WireError
from protocol.ids import ACCOUNT_ID, NODE_ID, decode_base64url, encode_base64url
from protocol.keys import NodeKey
from protocol.position import Position, position_fields, position_from
from protocol.tokens import sign_as_node, verify_from_node

AUDIENCE = "node-record"
MEMBER_AUDIENCE = "supernode-member"
VALID_S = 24 * 3600
SUPERNODE_ROLE = "superNodeLocalLinkNetwork"
CLUSTER = "cluster"  # the kind of an address: of the port for other nodes of the cluster
NAME_LIMIT = 64
LIST_LIMIT = 128  # services, addresses
SIGNED_LIMIT = 60_000  # characters: LIST_LIMIT services with names of usual length


@dataclass(frozen=True, slots=True)
class OfferedService:
    """A microservice that a node offers."""

    service_id: str
    service_type: str
    path: str


@dataclass(frozen=True, slots=True)
class Address:
    """One way to reach a node: kind is local, public, proxy or cluster."""

    kind: str
    href: str


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """The public description of a node."""

    node_id: str
    name: str
    version: str
    supernode_id: str
    sealing_key: bytes
    account_id: str = ""
    addresses: tuple[Address, ...] = ()
    services: tuple[OfferedService, ...] = ()
    position: Position | None = None  # only in the record for the cloud, which shows the account

    @property
    def is_supernode(self) -> bool:
        """True when this node is the supernode of its linkLocal cluster."""
        return self.supernode_id == self.node_id

    def with_account(self, account_id: str) -> "NodeRecord":
        """Return the record as a member of an account."""
        return replace(self, account_id=account_id)


def to_fields(record: NodeRecord) -> dict[str, Any]:
    """Return the record as the API shows it."""
    fields: dict[str, Any] = {
        "id": record.node_id,
        "name": record.name,
        "version": record.version,
        "account": {"id": record.account_id},
        "supernodeId": record.supernode_id,
        "rolesInCluster": [SUPERNODE_ROLE] if record.is_supernode else [],
        "sealingKey": encode_base64url(record.sealing_key),
        "addresses": [{"type": a.kind, "url": {"href": a.href}} for a in record.addresses],
        "services": [
            {"id": s.service_id, "serviceType": s.service_type, "self": s.path}
            for s in record.services
        ],
    }
    if record.position is not None:
        fields["location"] = position_fields(record.position)
    return fields


def from_fields(fields: Mapping[str, Any]) -> NodeRecord:
    """Return the record in the API's form; WireError when a field is missing or malformed."""
    try:
        record = NodeRecord(
            node_id=_matching(fields["id"], NODE_ID),
            name=_text(fields["name"], NAME_LIMIT),
            version=_text(fields["version"], NAME_LIMIT),
            supernode_id=_matching(fields["supernodeId"], NODE_ID),
            sealing_key=decode_base64url(_text(fields["sealingKey"], 2048)),
            account_id=_account(fields["account"]["id"]),
            addresses=tuple(
                Address(_text(a["type"], 16), _text(a["url"]["href"], 512))
                for a in fields["addresses"][:LIST_LIMIT]
            ),
            services=tuple(
                OfferedService(
                    _text(s["id"], 128), _text(s["serviceType"], 128), _text(s["self"], 256)
                )
                for s in fields["services"][:LIST_LIMIT]
            ),
            position=position_from(fields.get("location")),
        )
    except (KeyError, TypeError, ValueError, WireError) as exc:
        raise WireError(f"cannot read node record: {exc}") from exc
    return record


def sign_record(record: NodeRecord, key: NodeKey, now: float, membership: str = "") -> str:
    """Return the record as a JWT signed by its node; a member adds its supernode's statement."""
    claims: dict[str, Any] = {"aud": AUDIENCE, "node": to_fields(record)}
    if membership:
        claims["membership"] = membership
    return sign_as_node(claims, key, now, VALID_S)


def sign_membership(member_id: str, supernode: NodeKey, now: float) -> str:
    """Return a supernode's statement that it forwards to a node, valid for VALID_S."""
    return sign_as_node({"aud": MEMBER_AUDIENCE, "sub": member_id}, supernode, now, VALID_S)


def check_membership(statement: str, record: NodeRecord, now: float) -> float:
    """Return the time until which a record's supernode vouches for its node.

    Raises:
        TokenError: forged, expired, about another node or not by the record's supernode.
    """
    signer, claims = verify_from_node(statement, MEMBER_AUDIENCE, now)
    if signer != record.supernode_id or claims.get("sub") != record.node_id:
        raise TokenError("cannot accept membership: it is about other nodes")
    return min(float(claims["exp"]), now + VALID_S)


def open_record(signed: str, now: float) -> NodeRecord:
    """Return the record in a signed form; errors are those of open_registration()."""
    return open_registration(signed, now)[0]


def open_registration(signed: str, now: float) -> tuple[NodeRecord, str]:
    """Return the record in a signed form, and the supernode's statement in it, "" for none.

    Raises:
        TokenError: it is forged, expired or signed by another node than it describes.
        WireError: its fields are malformed.
    """
    signer, claims = verify_from_node(signed, AUDIENCE, now, SIGNED_LIMIT)
    fields = claims.get("node")
    if not isinstance(fields, Mapping):
        raise WireError("cannot read node record: no fields")
    record = from_fields(fields)
    if record.node_id != signer:
        raise TokenError("cannot accept node record: signed by another node")
    membership = claims.get("membership", "")
    return record, membership if isinstance(membership, str) else ""


def _text(value: Any, limit: int) -> str:
    if not isinstance(value, str) or len(value) > limit or not value.isprintable():
        raise ValueError(f"{value!r:.40} is not a printable text of at most {limit} characters")
    return value


def _matching(value: Any, pattern: Any) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"{value!r:.80} is not an id")
    return value


def _account(value: Any) -> str:
    return value if value == "" else _matching(value, ACCOUNT_ID)
