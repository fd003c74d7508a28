"""Builds the record that this node publishes."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from gateway import VERSION
from gateway.addresses import is_loopback, local_address
from gateway.node.account import Account
from gateway.node.identity import NodeIdentity
from gateway.node.position import NodePosition
from protocol.geo.position import Position
from protocol.memberships import SepClaim
from protocol.records import (
    CLUSTER,
    Address,
    NodeRecord,
    OfferedService,
    fit_services,
    sign_record,
)
from protocol.tokens import sign_as_node
from settings.addresses import format_address
from settings.secret import Secret

logger = logging.getLogger(__name__)

PROXY = "proxy"
EDGE_ID_TTL_S = 900.0  # a person takes it to the identity service


@dataclass(frozen=True, slots=True)
class RecordSources:
    """The functions of other parts that the record calls."""

    services: Callable[[], tuple[OfferedService, ...]]
    supernode_id: Callable[[], str]  # "" before the election
    sep_claim: Callable[[], SepClaim]
    vouch: Callable[[SepClaim], str]  # the statement of the SEP holder; "" for none


@dataclass(frozen=True, slots=True)
class ApiAddress:
    """The address of the node's API."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.scheme}://{format_address(self.host, self.port)}"


class Node:
    """The identity, the account and the addresses of this node."""

    def __init__(
        self,
        identity: NodeIdentity,
        name: str,
        account: Account,
        sources: RecordSources,
        clock: Callable[[], float],
        position: Position | None = None,
    ) -> None:
        self.identity, self.name, self.account = identity, name, account
        self.api: ApiAddress | None = None  # until the API listens
        self.cluster_addresses: tuple[str, ...] = ()  # host:port, until its port listens
        self.sep_url = ""  # until the cloud has stored the record
        self.position = NodePosition(position)
        self._left_out = frozenset[str]()  # services that the record has no room for
        self._sources, self._clock = sources, clock

    @property
    def node_id(self) -> str:
        """This node's id."""
        return self.identity.node_id

    def record(self) -> NodeRecord:
        """Return the record as of now."""
        supernode_id = self._sources.supernode_id()
        holder_id = self._sources.sep_claim().holder_id if supernode_id else ""
        return NodeRecord(
            node_id=self.node_id,
            name=self.name,
            version=VERSION,
            supernode_id=supernode_id or self.node_id,
            sep_holder_id="" if holder_id == supernode_id else holder_id,
            sealing_key=self.identity.sealing.public,
            account_id=self.account.account_id,
            addresses=tuple(self._addresses()),
            services=self._services(),
        )

    def signed_record(self) -> str:
        """Return the record signed by this node, for its cluster."""
        return self._sign(self.record())

    def signed_registration(self) -> str:
        """Return the record for the cloud: it has the position, which strangers must not read."""
        return self._sign(replace(self.record(), position=self.position.current))

    def _services(self) -> tuple[OfferedService, ...]:
        offered = self._sources.services()
        fitting = fit_services(offered)
        left_out = frozenset(each.service_id for each in offered) - {
            each.service_id for each in fitting
        }
        if left_out - self._left_out:
            logger.warning(
                "other nodes do not find %s: the record of this node has no room for it; shorten "
                "its name and its base path",
                ", ".join(sorted(left_out - self._left_out)),
            )
        self._left_out = left_out
        return fitting

    def _sign(self, record: NodeRecord) -> str:
        claim = self._sources.sep_claim()
        statement = self._sources.vouch(claim)
        return sign_record(record, self.identity.key, self._clock(), statement, claim)

    def edge_id_token(self) -> Secret:
        """Return a proof of which node this is, for the cloud's identity service."""
        claims = {
            "aud": "mid",
            "sub": self.account.account_id,
            "node_id": self.node_id,
            "node_name": self.name,
        }
        return Secret(sign_as_node(claims, self.identity.key, self._clock(), EDGE_ID_TTL_S))

    def note_api_address(self, address: ApiAddress) -> None:
        """Note that the API listens."""
        self.api = address

    def note_cluster_addresses(self, addresses: tuple[str, ...]) -> None:
        """Note where other nodes of the cluster reach this one."""
        self.cluster_addresses = addresses

    def note_registered(self, stored: NodeRecord) -> None:
        """Note the record as the cloud has stored it; it holds the SEP address."""
        found = (address.href for address in stored.addresses if address.kind == PROXY)
        self.sep_url = next(found, "")

    def _addresses(self) -> list[Address]:
        found = []
        if self.api is not None:
            host = self.api.host
            if host in ("0.0.0.0", "::"):  # noqa: S104  # compared, not bound
                host = local_address()
            if not is_loopback(host) and host != "localhost":  # reachable from other machines
                address = ApiAddress(self.api.scheme, host, self.api.port)
                found.append(Address("local", str(address)))
        found += [Address(CLUSTER, f"https://{each}") for each in self.cluster_addresses]
        if self.sep_url:
            found.append(Address(PROXY, self.sep_url))
        return found
