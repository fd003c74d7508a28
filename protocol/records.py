"""Encodes, signs and checks node records: public descriptions of nodes, signed by themselves.

Field names are those of the HTTP API (docs/protocol.md), so that callers get a record unchanged.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from protocol.errors import TokenError, WireError
from protocol.geo.position import Position, position_fields, position_from
from protocol.ids import ACCOUNT_ID, NODE_ID, decode_base64url, encode_base64url
from protocol.keys import NodeKey
from protocol.memberships import SepClaim, claim_fields, read_claim
from protocol.tokens import sign_as_node, verify_from_node

AUDIENCE = "node-record"
VALID_S = 24 * 3600
SUPERNODE_ROLE = "superNodeLocalLinkNetwork"
CLUSTER = "cluster"  # the kind of an address: of the port for other nodes of the cluster
NAME_LIMIT = 64
LIST_LIMIT = 128  # services, addresses
SIGNED_LIMIT = 60_000  # characters: LIST_LIMIT services with names of usual length
ID_LIMIT, PATH_LIMIT = 128, 256  # characters of a service
SERVICES_LIMIT = 36_000  # characters of all services as JSON; base64 makes a third more of them


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
    """The public description of a node; its supernode, or the node that it names, holds its SEP."""

    node_id: str
    name: str
    version: str
    supernode_id: str
    sealing_key: bytes
    account_id: str = ""
    addresses: tuple[Address, ...] = ()
    services: tuple[OfferedService, ...] = ()
    position: Position | None = None  # only in the record for the cloud, which shows the account
    sep_holder_id: str = ""  # "" for the supernode

    @property
    def is_supernode(self) -> bool:
        """True when this node is the supernode of its linkLocal cluster."""
        return self.supernode_id == self.node_id

    @property
    def holder_id(self) -> str:
        """The node through which the cloud reaches this one."""
        return self.sep_holder_id or self.supernode_id

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
        "sepHolderId": record.holder_id,
        "rolesInCluster": [SUPERNODE_ROLE] if record.is_supernode else [],
        "sealingKey": encode_base64url(record.sealing_key),
        "addresses": [{"type": a.kind, "url": {"href": a.href}} for a in record.addresses],
        "services": [_service_fields(each) for each in record.services],
    }
    if record.position is not None:
        fields["location"] = position_fields(record.position)
    return fields


def _service_fields(service: OfferedService) -> dict[str, str]:
    return {"id": service.service_id, "serviceType": service.service_type, "self": service.path}


def fit_services(services: Iterable[OfferedService]) -> tuple[OfferedService, ...]:
    """Return the services that a record can carry: others refuse one with longer or more texts."""
    fitting: list[OfferedService] = []
    left = SERVICES_LIMIT
    for each in services:
        is_short = max(len(each.service_id), len(each.service_type)) <= ID_LIMIT
        left -= (size := len(json.dumps(_service_fields(each))) + 2)
        if is_short and len(each.path) <= PATH_LIMIT and left >= 0 and len(fitting) < LIST_LIMIT:
            fitting.append(each)
        else:
            left += size
    return tuple(fitting)


def from_fields(fields: Mapping[str, Any]) -> NodeRecord:
    """Return the record in the API's form; WireError when a field is missing or malformed."""
    try:
        supernode_id = _matching(fields["supernodeId"], NODE_ID)
        holder_id = _matching(fields.get("sepHolderId", supernode_id), NODE_ID)
        record = NodeRecord(
            node_id=_matching(fields["id"], NODE_ID),
            name=_text(fields["name"], NAME_LIMIT),
            version=_text(fields["version"], NAME_LIMIT),
            supernode_id=supernode_id,
            sealing_key=decode_base64url(_text(fields["sealingKey"], 2048)),
            account_id=_account(fields["account"]["id"]),
            addresses=tuple(
                Address(_text(a["type"], 16), _text(a["url"]["href"], 512))
                for a in fields["addresses"][:LIST_LIMIT]
            ),
            services=tuple(
                OfferedService(
                    _text(s["id"], ID_LIMIT),
                    _text(s["serviceType"], ID_LIMIT),
                    _text(s["self"], PATH_LIMIT),
                )
                for s in fields["services"][:LIST_LIMIT]
            ),
            position=position_from(fields.get("location")),
            sep_holder_id="" if holder_id == supernode_id else holder_id,
        )
    except (KeyError, TypeError, ValueError, WireError) as exc:
        raise WireError(f"cannot read node record: {exc}") from exc
    return record


@dataclass(frozen=True, slots=True)
class Registration:
    """A record as its node has signed it.

    Attributes:
        membership: the statement of the node that holds its SEP; "" for none.
        claim: the claim of the SEP that the node follows; None of old versions.
    """

    record: NodeRecord
    membership: str = ""
    claim: SepClaim | None = None


def sign_record(
    record: NodeRecord,
    key: NodeKey,
    now: float,
    membership: str = "",
    claim: SepClaim | None = None,
) -> str:
    """Return the record as a JWT signed by its node, with the statement of its SEP holder."""
    claims: dict[str, Any] = {"aud": AUDIENCE, "node": to_fields(record)}
    if membership:
        claims["membership"] = membership
    if claim is not None:
        claims["sep"] = claim_fields(claim)
    return sign_as_node(claims, key, now, VALID_S)


def open_record(signed: str, now: float) -> NodeRecord:
    """Return the record in a signed form; errors are those of open_registration()."""
    return open_registration(signed, now).record


def open_registration(signed: str, now: float) -> Registration:
    """Return the record in a signed form, and what its node says about its SEP.

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
    return Registration(
        record,
        membership if isinstance(membership, str) else "",
        read_claim(claims.get("sep"), record.holder_id),
    )


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
