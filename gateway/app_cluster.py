"""Builds the parts of the cluster for app.py."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from broker import Broker
from gateway.access.tokens import AccessTokens
from gateway.addresses import cluster_addresses
from gateway.cluster.cluster import Cluster, ClusterPorts
from gateway.cluster.election.machine import Election
from gateway.cluster.records.directory import Directory
from gateway.config import ClusterSettings
from gateway.node.credential import CredentialKeeper
from gateway.node.record import Node
from gateway.node.vouch import SupernodeVouch
from gateway.storage.settings import SettingsStore
from protocol.cluster_credentials import ClusterCredential, read_credential
from protocol.errors import TokenError
from protocol.records import sign_membership

if TYPE_CHECKING:  # a node that stays alone does not load them
    from gateway.cluster.links.admission import PeerAdmission
    from gateway.cluster.network import ClusterNetwork, NetworkPorts

EPOCH = "cluster-epoch"  # the highest that this node has seen


@dataclass(frozen=True, slots=True)
class ClusterBase:
    """The parts that a cluster is built on."""

    settings: ClusterSettings
    node: Node
    election: Election
    broker: Broker
    store: SettingsStore
    tokens: AccessTokens
    credential: CredentialKeeper
    vouch: SupernodeVouch
    clock: Callable[[], float]


def build_cluster(base: ClusterBase) -> Cluster:
    """Return the cluster of this node; it has a port of its own unless nobody may join."""
    directory = Directory(secrets.token_bytes(16))

    async def save_epoch(epoch: int) -> None:
        await base.store.save({EPOCH: str(epoch).encode()})

    def vouch(member_id: str) -> str:
        return sign_membership(member_id, base.node.identity.key, base.clock())

    ports = ClusterPorts(
        base.node.signed_record,
        save_epoch,
        partial(cluster_addresses, base.settings.host),
        base.node.note_cluster_addresses,
        vouch,
        base.vouch.note,
    )
    node_id, election = base.node.node_id, base.election
    if base.settings.admit == "none":
        return Cluster(node_id, election, directory, base.broker, ports)
    from gateway.cluster.network import ClusterNetwork, WaysToPeers

    admission = _build_admission(base)
    ways = WaysToPeers(base.settings.peers, base.settings.discovery)

    def build_network(network_ports: "NetworkPorts") -> "ClusterNetwork":
        key = base.node.identity.key
        return ClusterNetwork(key, election, directory, admission, ways, network_ports)

    return Cluster(node_id, election, directory, base.broker, ports, build_network)


def _build_admission(base: ClusterBase) -> "PeerAdmission":
    from gateway.cluster.links.admission import AccountAdmission, OpenAdmission, SecretAdmission

    settings = base.settings
    if settings.admit == "any":
        return OpenAdmission()
    if settings.admit == "secret":
        known = [secret for secret in (settings.secret, settings.old_secret) if secret]
        return SecretAdmission(base.node.node_id, known)

    def read(text: str) -> ClusterCredential:
        if base.tokens.keys is None:
            raise TokenError("the keys of the cloud are not known here yet")
        return read_credential(text, base.tokens.keys, base.clock())

    return AccountAdmission(
        lambda: base.node.account.account_id, lambda: base.credential.text, read
    )
