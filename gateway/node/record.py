"""Builds the record that this node publishes."""

from collections.abc import Callable
from dataclasses import dataclass

from gateway import VERSION
from gateway.addresses import is_loopback, local_address
from gateway.node.account import Account
from gateway.node.identity import NodeIdentity
from protocol.records import Address, NodeRecord, OfferedService, sign_record
from protocol.tokens import sign_as_node
from settings.addresses import format_address
from settings.secret import Secret

PROXY = "proxy"
EDGE_ID_TTL_S = 900.0  # a person takes it to the identity service


@dataclass(slots=True)
class Listening:
    """The addresses of this node's API; set once everything listens."""

    api_host: str = ""
    api_port: int = 0
    api_scheme: str = "http"
    sep_url: str = ""  # as the cloud says


class Node:
    """Makes the node record."""

    def __init__(
        self, identity: NodeIdentity, name: str, account: Account, clock: Callable[[], float]
    ) -> None:
        self.identity, self.name, self.account = identity, name, account
        self.listening = Listening()
        self.services: Callable[[], tuple[OfferedService, ...]] = tuple
        self.supernode_id: Callable[[], str] = str
        self._clock = clock

    @property
    def node_id(self) -> str:
        """This node's id."""
        return self.identity.node_id

    def record(self) -> NodeRecord:
        """Return the record as of now."""
        return NodeRecord(
            node_id=self.node_id,
            name=self.name,
            version=VERSION,
            supernode_id=self.supernode_id() or self.node_id,
            sealing_key=self.identity.sealing.public,
            account_id=self.account.account_id,
            addresses=tuple(self._addresses()),
            services=self.services(),
        )

    def signed_record(self) -> str:
        """Return the record signed by this node."""
        return sign_record(self.record(), self.identity.key, self._clock())

    def edge_id_token(self) -> Secret:
        """Return a proof of which node this is, for the cloud's identity service."""
        claims = {
            "aud": "mid",
            "sub": self.account.account_id,
            "node_id": self.node_id,
            "node_name": self.name,
        }
        return Secret(sign_as_node(claims, self.identity.key, self._clock(), EDGE_ID_TTL_S))

    def learn_sep_url(self, stored: NodeRecord) -> None:
        """Take the SEP address from the record as the cloud keeps it."""
        found = (address.href for address in stored.addresses if address.kind == PROXY)
        self.listening.sep_url = next(found, "")

    def _addresses(self) -> list[Address]:
        host, found = self.listening.api_host, []
        if host in ("0.0.0.0", "::"):  # noqa: S104  # compared, not bound
            host = local_address()
        if host and not is_loopback(host) and host != "localhost":  # of use to others
            where = format_address(host, self.listening.api_port)
            found.append(Address("local", f"{self.listening.api_scheme}://{where}"))
        if self.listening.sep_url:
            found.append(Address(PROXY, self.listening.sep_url))
        return found
