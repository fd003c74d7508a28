"""Builds every part of a gateway from its configuration. Read this first.

devices ──► broker ──► containers          people ──► sidecar ──► containers
              │ └────► registry of devices              ▲  ▲
              ▼                                     SEP │  │ BEP (its visitors)
            spool ───► uplink ◄────────────────────────► cloud

A part gets everything that it uses from its constructor, so build_gateway() builds from the leaves
up. lifecycle.py runs the parts and stops them in order.
"""

import asyncio
import logging
import os
import signal
import socket
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from broker import Broker
from gateway.access.guard import Guard
from gateway.access.tokens import AccessTokens
from gateway.app_calls import build_egress_targets, build_other_nodes
from gateway.app_cloud import (
    CloudBase,
    build_cloud,
    build_cloud_access,
    cloud_way_sockets,
    dial_cloud,
    name_cloud,
)
from gateway.app_cluster import (
    ClusterBase,
    build_cluster,
    build_warnings,
    load_credential,
    load_election,
)
from gateway.app_devices import (
    DeviceBase,
    LinkSettings,
    build_admission,
    build_links,
    build_logins,
    build_sensors,
    load_devices,
)
from gateway.cloud_api.clock import CloudClock
from gateway.cluster.cluster import Cluster
from gateway.cluster.election.heartbeat import Role
from gateway.cluster.election.machine import Election
from gateway.cluster.election.sep_agreement import SepAgreement
from gateway.config import GatewayConfig
from gateway.lifecycle import CloudLinkParts, Gateway, GatewayParts
from gateway.mqtt.access import Access, AccessPorts
from gateway.mqtt.embedded import build_embedded_broker, open_users
from gateway.mqtt.listeners import BrokerListeners, open_broker_listeners
from gateway.node.account import Account
from gateway.node.identity import load_identity
from gateway.node.record import Node, RecordSources
from gateway.node.state_folder import hold_state, make_private, runtime_folder
from gateway.node.vouch import HolderVouch
from gateway.roles import RoleController, RolePart
from gateway.services import NodeInfo, ServiceHost
from gateway.sidecar.app import Sidecar, SidecarParts, build_sidecar
from gateway.status import GatewayStatus, StatusSources
from gateway.storage.database import LocalDatabase
from gateway.storage.gateway_file import gateway_database
from gateway.storage.settings import SettingsStore
from gateway.tls import server_certificate
from hardware.boot_clock import boot_time
from web import ServerCertificate

if TYPE_CHECKING:  # a node that does not use them does not load them
    from gateway.mqtt.users import BrokerUsers
    from hardware.radio.backend import RadioBackend

logger = logging.getLogger(__name__)


async def run_gateway(config: GatewayConfig, radio: "RadioBackend | None" = None) -> None:
    """Run until SIGTERM or SIGINT; GatewayError when it cannot start.

    A radio takes the place of the system's Bluetooth.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        with hold_state(config.node.state):
            async with AsyncExitStack() as stack:
                gateway = await build_gateway(config, stack, radio)
                await gateway.run(stopping)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    logger.info("stopped")


async def build_gateway(
    config: GatewayConfig, stack: AsyncExitStack, radio: "RadioBackend | None" = None
) -> Gateway:
    """Build all parts; nothing listens and nothing runs yet. The stack closes them."""
    base = await _build_base(config, stack)
    node, clock = base.node, base.clock
    users = open_users(config.broker, stack)
    broker = _build_broker(base, users)
    admission = build_admission(base.devices, broker)
    link_settings = LinkSettings(config.serial, config.bluetooth, radio)
    links = build_links(base.devices, link_settings, broker)
    bluetooth = links.bluetooth if links is not None else None
    sensors = await build_sensors(base.database, admission, broker, can_hear=bluetooth is not None)
    if bluetooth is not None:
        bluetooth.source.add_listener(sensors.hub.hear)
    cloud_base = CloudBase(config, node, base.sep, clock, base.sockets)
    access = build_cloud_access(cloud_base, stack) if config.cloud.url else None
    fetch_keys = access.api.signing_keys if access is not None else None
    tokens = AccessTokens(node.node_id, node.account, base.settings, fetch_keys, clock.now)
    await tokens.load()
    credential = await load_credential(node, base.settings, tokens, clock.now)
    cluster = build_cluster(
        ClusterBase(
            settings=config.cluster,
            node=node,
            election=base.election,
            sep=base.sep,
            broker=broker,
            store=base.settings,
            tokens=tokens,
            credential=credential,
            vouch=base.vouch,
            clock=clock.now,
            has_cloud=bool(config.cloud.url),
            way_sockets=cloud_way_sockets(config, base.sockets),
            dial=dial_cloud(config.cloud),
            state=config.node.state,
        )
    )
    further = {"peers": cluster.peers_warning}
    if bluetooth is not None:
        further["bluetooth"] = bluetooth.warning
    warnings = build_warnings(config.cluster, credential, further, time.time)
    cloud = await build_cloud(cloud_base, access, broker, cluster, stack) if access else None
    nodes = build_other_nodes(
        node.node_id,
        cluster,
        (cloud.sep_calls, cloud.bep_calls, cloud.api.account_nodes) if cloud else None,
        stack,
    )
    status = GatewayStatus(
        StatusSources(
            node=node,
            broker=broker,
            cluster=cluster,
            admission=admission,
            sensors=sensors.hub,
            services=base.services,
            tunnel=cloud.tunnel if cloud else None,
            cloud=cloud.sources if cloud else None,
            warnings=warnings.texts,
            bluetooth=bluetooth,
        )
    )
    sidecar = build_sidecar(
        SidecarParts(
            guard=Guard(node.identity.api_key, tokens),
            status=status,
            node=node,
            cluster=cluster,
            admission=admission,
            links=links,
            sensors=sensors,
            services=base.services,
            nodes=nodes,
            cloud=cloud.calls if cloud else None,
            clock=clock.now,
        )
    )
    return Gateway(
        GatewayParts(
            config=config,
            node=node,
            sockets=base.sockets,
            broker_listeners=base.broker_listeners,
            sidecar_certificate=base.sidecar_certificate,
            services=base.services,
            targets=build_egress_targets(base.node, config.sidecar, broker, sidecar, nodes),
            broker=broker,
            users=users,
            admission=admission,
            links=links,
            sensors=sensors.hub,
            cluster=cluster,
            credential=credential,
            warnings=warnings,
            tokens=tokens,
            cloud=cloud,
            status=status,
            sidecar=sidecar,
            roles=_build_roles(base, cluster, cloud, sidecar),
        )
    )


@dataclass(frozen=True, slots=True)
class _Base:
    """The parts below the broker."""

    config: GatewayConfig
    database: LocalDatabase
    settings: SettingsStore
    devices: DeviceBase
    services: ServiceHost
    election: Election
    sep: SepAgreement
    node: Node
    vouch: HolderVouch
    clock: CloudClock
    sockets: Path  # the folder of this process's Unix sockets
    broker_listeners: BrokerListeners
    sidecar_certificate: ServerCertificate | None


async def _build_base(config: GatewayConfig, stack: AsyncExitStack) -> _Base:
    state = config.node.state
    identity = load_identity(state)
    database = gateway_database(state)
    await database.open()
    stack.push_async_callback(database.close)
    settings = SettingsStore(database)
    devices = await load_devices(config.devices, database, state)
    account = Account(settings)
    await account.load()
    sockets = make_private(
        runtime_folder(state, os.environ.get("XDG_RUNTIME_DIR", ""), os.getuid())
    )
    services = ServiceHost(
        make_private(state / "services"),
        make_private(sockets / "services"),
        sockets / "broker.sock",
        NodeInfo(identity.node_id, lambda: account.account_id),
        limits=config.services.limits(),
        isolation=config.services.isolation_policy(),
    )
    election = await load_election(identity.node_id, settings, config.cluster)
    host = "".join(each for each in socket.gethostname() if each.isprintable())
    name = config.node.name or host[:64]
    clock = CloudClock(time.time, boot_time)
    sep = SepAgreement(identity.node_id, boot_time(), name_cloud(config.cloud.url))
    vouch = HolderVouch(identity.node_id)
    sources = RecordSources(
        services.services, lambda: election.supernode_id, lambda: sep.claim, vouch.of
    )
    logger.info("node %s (%s), state in %s", identity.node_id[:12], name, state)
    return _Base(
        config=config,
        database=database,
        settings=settings,
        devices=devices,
        services=services,
        election=election,
        sep=sep,
        node=Node(identity, name, account, sources, clock.now, config.node.read_position()),
        vouch=vouch,
        clock=clock,
        sockets=sockets,
        broker_listeners=open_broker_listeners(
            config.broker, sockets / "broker.sock", devices.authority_file
        ),
        sidecar_certificate=server_certificate(
            config.sidecar.tls_cert, config.sidecar.tls_key, "[sidecar]"
        ),
    )


def _build_broker(base: _Base, users: "BrokerUsers | None") -> Broker:
    settings = base.config.broker
    logins = build_logins(base.devices, base.broker_listeners.encrypted)
    access = Access(
        base.devices.tables.registry,
        base.node.identity.api_key,
        AccessPorts(base.services.authenticate, logins, base.devices.rights),
        users,
        loopback_anonymous=settings.anonymous == "loopback",
    )
    state = base.config.node.state
    return build_embedded_broker(settings, base.broker_listeners, access, state)


def _build_roles(
    base: _Base, cluster: Cluster, cloud: CloudLinkParts | None, sidecar: Sidecar
) -> RoleController:
    if cloud is None:
        return RoleController((), cluster.next_role)
    from gateway.sep.forwarder import PeerPorts, SepForwarder
    from gateway.sep.service import SepService
    from gateway.uplink.registration import spread_of

    node_id, uplink = base.node.node_id, cloud.uplink
    service = SepService(base.node.identity, sidecar.api, base.clock.now)
    peers = PeerPorts(
        send=cluster.send_sep,
        supernode_id=lambda: cluster.supernode_id,
        holder_id=lambda: cluster.sep_holder_id,
        is_awake=cluster.is_awake,
    )
    sep = SepForwarder(node_id, service, peers)

    def on_change() -> None:
        holds = cluster.sep_holder_id == node_id  # others are reached through it: it is the first
        uplink.register_soon(0.0 if holds else spread_of(cluster.size))
        uplink.look_again(closely=cluster.leads_others)

    cluster.add_listener(on_change, sep.take_from_peer)

    async def serve_cloud() -> None:
        """Keep the uplink and serve the SEP requests that it brings."""
        try:
            await uplink.run(sep.handle)
        finally:
            await sep.stop()

    # the cloud takes a node that no supernode vouches for as its own supernode
    roles = frozenset(Role) - {Role.LISTENING}
    return RoleController([RolePart("uplink", roles, serve_cloud)], cluster.next_role)
