"""Builds the parts of the cluster for app.py."""

import importlib
import logging
import re
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from broker import Broker
from gateway.access.tokens import AccessTokens
from gateway.addresses import cluster_addresses
from gateway.cluster.cluster import Cluster, ClusterPorts
from gateway.cluster.election.heartbeat import EPOCH_LIMIT
from gateway.cluster.election.machine import Election
from gateway.cluster.election.rank import Rank
from gateway.cluster.election.sep_agreement import SepAgreement
from gateway.cluster.entry import ClusterEntry
from gateway.cluster.records.directory import Directory
from gateway.config import ClusterSettings
from gateway.node.credential import CredentialKeeper
from gateway.node.record import Node
from gateway.node.vouch import HolderVouch
from gateway.node.warnings import NodeWarnings, describe_clock
from gateway.storage.settings import SettingsStore
from hardware.boot_clock import boot_time
from protocol.cluster_credentials import ANY_TIME, ClusterCredential, read_credential
from protocol.errors import TokenError
from protocol.memberships import SepClaim, sign_membership

if TYPE_CHECKING:  # a node that stays alone does not load them
    from gateway.cloud_api.http_proxy import Dial
    from gateway.cluster.links.admission import PeerAdmission
    from gateway.cluster.network import ClusterNetwork, NetworkPorts

logger = logging.getLogger(__name__)

PROBE_FILE = "fitness"  # in the state folder
EPOCH = "cluster-epoch"  # the highest that this node has seen


@dataclass(frozen=True, slots=True)
class ClusterBase:
    """The parts that a cluster is built on."""

    settings: ClusterSettings
    node: Node
    election: Election
    sep: SepAgreement
    broker: Broker
    store: SettingsStore
    tokens: AccessTokens
    credential: CredentialKeeper
    vouch: HolderVouch
    clock: Callable[[], float]
    has_cloud: bool
    way_sockets: Mapping[Path, str]  # the cloud's host:port, by the Unix socket that leads there
    dial: "Dial"  # to the cloud, directly
    state: Path  # the state folder


def build_cluster(base: ClusterBase) -> Cluster:
    """Return the cluster of this node; it has a port of its own unless nobody may join."""
    directory = Directory(secrets.token_bytes(16))

    async def save_epoch(epoch: int) -> None:
        await base.store.save({EPOCH: str(epoch).encode()})

    def vouch(node_id: str, claim: SepClaim) -> str:
        return sign_membership(node_id, base.node.identity.key, base.clock(), claim)

    ports = ClusterPorts(
        base.node.signed_record,
        save_epoch,
        partial(cluster_addresses, base.settings.host),
        base.node.note_cluster_addresses,
        vouch,
        base.vouch.note,
    )
    node_id, agreed = base.node.node_id, (base.election, base.sep)
    if not _may_take_part(base):
        return Cluster(node_id, agreed, directory, base.broker, ports)
    from gateway.cluster.fitness import BrokerProbe, DiskProbe

    disk, broker = DiskProbe(base.state / PROBE_FILE), BrokerProbe(base.broker)
    ports = replace(ports, probes={"the disk": disk, "the broker": broker})
    entry = _build_entry(base, directory)
    return Cluster(node_id, agreed, directory, base.broker, ports, entry)


def _may_take_part(base: ClusterBase) -> bool:
    """Return whether this node is, or can become, one of a cluster: an account needs a cloud."""
    if base.settings.admit == "account":
        return base.has_cloud or bool(base.credential.text)
    return base.settings.admit != "none"


def _build_entry(base: ClusterBase, directory: Directory) -> ClusterEntry:
    settings, node = base.settings, base.node

    def build(ports: "NetworkPorts") -> "ClusterNetwork":
        from gateway.cluster.network import ClusterNetwork, WaysToCloud, WaysToPeers

        agreed = (base.election, base.sep)
        to_peers = WaysToPeers(settings.peers, settings.discovery)
        ways = (to_peers, WaysToCloud(base.way_sockets, base.dial))
        admission = _build_admission(base)
        return ClusterNetwork(node.identity.key, agreed, directory, admission, ways, ports)

    def listen(network: "ClusterNetwork") -> socket.socket:
        listener = network.listen(settings.host, settings.port)
        node.note_cluster_addresses(cluster_addresses(settings.host, network.port))
        return listener

    def is_entitled() -> bool:
        if settings.admit != "account":
            return True
        return bool(node.account.account_id and base.credential.text)

    return ClusterEntry(
        is_entitled=is_entitled,
        load=_load_network,
        build=build,
        listen=listen,
        closed=lambda: node.note_cluster_addresses(()),
    )


def _load_network() -> None:
    for name in ("gateway.cluster.network", "gateway.cluster.discovery.service"):
        importlib.import_module(name)


async def load_election(node_id: str, store: SettingsStore, settings: ClusterSettings) -> Election:
    """Return the election of a node, which continues after the highest epoch that it has seen."""
    rank = Rank(settings.stationary, settings.capability)
    epoch = _read_epoch((await store.load()).get(EPOCH, b"0"))
    return Election(node_id, boot_time(), rank, epoch)


def _read_epoch(stored: bytes) -> int:
    """Return a stored epoch; 0 for one that cannot be read, because peers and the cloud know it."""
    if not re.fullmatch(rb"[0-9]{1,16}", stored):
        logger.warning("cannot read the stored epoch of the cluster; asking other nodes for it")
        return 0
    return min(int(stored), EPOCH_LIMIT)


async def load_credential(
    node: Node, store: SettingsStore, tokens: AccessTokens, clock: Callable[[], float]
) -> CredentialKeeper:
    """Return the credential of a node, as it was stored."""
    keeper = CredentialKeeper(node.node_id, node.account, store, lambda: tokens.keys, clock)
    await keeper.load()
    return keeper


def build_warnings(
    settings: ClusterSettings,
    credential: CredentialKeeper,
    further: Mapping[str, Callable[[], str]],
    clock: Callable[[], float],
) -> NodeWarnings:
    """Return the warnings: of the clock, of what admits this node to a cluster, further ones."""
    sources = {"clock": lambda: describe_clock(clock)}
    if settings.admit == "account":
        sources["credential"] = credential.warning
    return NodeWarnings({**sources, **further}, clock)


def _build_admission(base: ClusterBase) -> "PeerAdmission":
    from gateway.cluster.links.admission import AccountAdmission, OpenAdmission, SecretAdmission

    settings = base.settings
    if settings.admit == "any":
        return OpenAdmission()
    if settings.admit == "secret":
        known = [secret for secret in (settings.secret, settings.old_secret) if secret]
        return SecretAdmission(base.node.node_id, known)

    def read(text: str) -> ClusterCredential:
        keys = base.tokens.keys
        if keys is None:
            base.tokens.refresh_soon()
            raise TokenError("the keys of the cloud are not known here yet")
        try:
            return read_credential(text, keys, ANY_TIME)
        except TokenError:  # the cloud may have a new key; the peer comes back
            base.tokens.refresh_soon()
            raise

    return AccountAdmission(
        lambda: base.node.account.account_id,
        lambda: base.credential.text,
        read,
        base.credential.now,
    )
