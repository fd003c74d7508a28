"""Builds the parts that lead to the cloud for app.py."""

import hashlib
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from broker import Broker
from gateway.cloud_api.clock import CloudClock
from gateway.cluster.cluster import Cluster
from gateway.cluster.election.sep_agreement import SepAgreement
from gateway.config import CloudSettings, GatewayConfig
from gateway.lifecycle import CloudLinkParts
from gateway.node.record import Node
from gateway.sidecar.app import CloudCalls
from gateway.status import CloudSources
from gateway.tls import client_context
from protocol.records import NodeRecord
from settings.addresses import format_address
from web.addresses import is_loopback_host

if TYPE_CHECKING:  # a node without a cloud does not load it
    import ssl

    from gateway.cloud_api.bep_calls import BepCalls
    from gateway.cloud_api.client import CloudApi
    from gateway.cloud_api.http_proxy import Dial, Proxy
    from gateway.cloud_api.sep_calls import SepCalls
    from gateway.cloud_api.way_transport import WayTransport
    from gateway.cloud_api.ways import WayChoice
    from gateway.spool.spool import Spool
    from gateway.uplink.uplink import NodePorts, Uplink

logger = logging.getLogger(__name__)

API_DOOR, MQTT_DOOR = "cloud-api.sock", "cloud-mqtt.sock"  # to the cloud through another node
SEP_CONNECTIONS = 16  # the cloud serves so many requests of one address to a node


@dataclass(frozen=True, slots=True)
class CloudBase:
    """The parts that the link to the cloud is built on."""

    config: GatewayConfig
    node: Node
    sep: SepAgreement
    clock: CloudClock
    sockets: Path  # the folder of this process's Unix sockets


@dataclass(frozen=True, slots=True)
class CloudAccess:
    """The client of the cloud's API, and the ways that it takes."""

    api: "CloudApi"
    ways: "WayChoice"
    transport: "WayTransport"
    tls: "ssl.SSLContext | None"  # of all HTTP to the cloud: each takes 0.8 MiB


def build_cloud_access(base: CloudBase, stack: AsyncExitStack) -> CloudAccess:
    """Return the client of the cloud's API."""
    from gateway.cloud_api.client import CloudApi
    from gateway.cloud_api.ways import WayChoice

    settings, node_id = base.config.cloud, base.node.node_id
    if not settings.tls and not is_loopback_host(urlsplit(settings.url).hostname or ""):
        logger.warning("the link to %s is not encrypted: use https", settings.url)

    def find_holder() -> str:
        holder_id = base.sep.claim.holder_id
        return holder_id if holder_id != node_id and _has_way_sockets(base.config) else ""

    ways = WayChoice(find_holder)
    tls = client_context(settings.ca_file) if settings.tls else None
    transport = _build_transport(base, ways, tls)
    api = CloudApi(settings.url, base.node.identity.key, transport, base.clock)
    stack.push_async_callback(api.close)
    return CloudAccess(api, ways, transport, tls)


def cloud_way_sockets(config: GatewayConfig, sockets: Path) -> Mapping[Path, str]:
    """Return the places of the cloud, as host:port, by the Unix sockets that lead there."""
    if not _has_way_sockets(config):
        return {}
    parts, settings = urlsplit(config.cloud.url), config.cloud
    api_port = parts.port or (443 if settings.tls else 80)
    return {
        sockets / API_DOOR: format_address(parts.hostname or "", api_port),
        sockets / MQTT_DOOR: format_address(*settings.mqtt_address),
    }


def dial_cloud(settings: CloudSettings) -> "Dial":
    """Return a function that connects to the cloud directly, through the proxy if there is one."""
    from gateway.cloud_api.http_proxy import dial_through
    from gateway.tunnel.dial import dial_tcp

    return dial_through(settings.proxy, urlsplit(settings.url).scheme, dial_tcp)


async def build_cloud(
    base: CloudBase,
    access: CloudAccess,
    broker: Broker,
    cluster: Cluster,
    stack: AsyncExitStack,
) -> CloudLinkParts:
    """Return the link to the cloud, tunnels, and the ways of this node to others through it."""
    from gateway.cloud_api.sep_calls import SepCalls
    from gateway.node.membership import Membership
    from gateway.node.position_reports import PositionReports
    from gateway.spool.spool import Spool
    from gateway.spool.values import WhenFull
    from gateway.tunnel import TunnelHost
    from gateway.tunnel.grants import BepService
    from gateway.uplink.uplink import NodePorts

    config, node, clock, api = base.config, base.node, base.clock, access.api
    settings = config.cloud
    sep_transport = _build_transport(base, access.ways, access.tls, SEP_CONNECTIONS)
    sep_calls = SepCalls(settings.url, sep_transport)
    stack.push_async_callback(sep_calls.close)
    bep_calls = _build_bep_calls(base, access, sep_calls)
    stack.push_async_callback(bep_calls.close)
    when_full = WhenFull(config.spool.when_full)
    spool = Spool(config.node.state / "spool.db", config.spool.limit_bytes, when_full)
    await spool.open()
    stack.push_async_callback(spool.close)
    tunnel = TunnelHost(
        base.sockets / "visitors.sock",
        clock=clock.now,
        dial=dial_cloud(settings),
        trust=partial(client_context, settings.ca_file),
    )
    stack.push_async_callback(tunnel.stop)
    beps = BepService(node.node_id, node.account, api, tunnel, clock.now)

    def on_registered(stored: NodeRecord) -> None:
        node.note_registered(stored)
        cluster.publish()

    ports = NodePorts(
        node_id=node.node_id,
        signed_record=node.signed_registration,
        on_registered=on_registered,
        on_reach=cluster.note_own_reach,
        on_stale_claim=cluster.raise_epoch,
        way_fault=cluster.way_fault,
    )
    uplink = _build_uplink(base, access, broker, spool, ports)
    membership = Membership(node.account, api, uplink.associate, node.edge_id_token)
    stack.push_async_callback(membership.cancel)
    return CloudLinkParts(
        api=api,
        uplink=uplink,
        tunnel=tunnel,
        beps=beps,
        calls=CloudCalls(
            associate=uplink.associate,
            account_nodes=api.account_nodes,
            near_nodes=api.near_nodes,
            moved=PositionReports(node.position, uplink.register_soon).move,
            beps=beps,
            membership=membership,
            url=settings.url,
        ),
        sources=CloudSources(uplink, spool, clock, settings.url, access.ways),
        sep_calls=sep_calls,
        bep_calls=bep_calls,
    )


def _build_bep_calls(base: CloudBase, access: CloudAccess, sep: "SepCalls") -> "BepCalls":
    from gateway.cloud_api.bep_calls import BepCalls

    settings, node = base.config.cloud, base.node
    proxy = _find_proxy(settings, urlsplit(settings.url).hostname or "")
    nodes, clock = access.api.account_nodes, base.clock.now
    return BepCalls(settings.url, (access.tls, proxy), sep, nodes, lambda: node.account.key, clock)


def name_cloud(url: str) -> str:
    """Return a name of the cloud that peers can compare; "" for none."""
    return hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:16] if url else ""


def _build_uplink(
    base: CloudBase,
    access: CloudAccess,
    broker: Broker,
    spool: "Spool",
    ports: "NodePorts",
) -> "Uplink":
    from gateway.uplink.endpoint import Endpoint
    from gateway.uplink.rules import Rules
    from gateway.uplink.uplink import Uplink, UplinkParts

    config = base.config
    host, port = config.cloud.mqtt_address
    # not that of HTTP: a client of HTTP names its protocol in it
    tls = cache(partial(client_context, config.cloud.ca_file)) if config.cloud.tls else None
    proxy = _find_proxy(config.cloud, host)
    dial = dial_cloud(config.cloud)

    async def probe() -> bool:
        if not await access.transport.probe(config.cloud.url):
            return False
        try:
            (await dial(host, port)).close()
        except OSError:
            return False
        return True

    return Uplink(
        Endpoint(host, port, tls, proxy, base.sockets / MQTT_DOOR),
        ports,
        UplinkParts(
            api=access.api,
            account=base.node.account,
            rules=Rules(config.uplink.topics),
            spool=spool,
            local=broker.local_client("uplink"),
            ways=access.ways,
            probe=probe,
        ),
    )


def _build_transport(
    base: CloudBase, ways: "WayChoice", tls: "ssl.SSLContext | None", connections: int = 100
) -> "WayTransport":
    from gateway.cloud_api.way_transport import WayTransport

    proxy = _find_proxy(base.config.cloud, urlsplit(base.config.cloud.url).hostname or "")
    return WayTransport(ways, tls, proxy, base.sockets / API_DOOR, connections)


def _find_proxy(settings: CloudSettings, host: str) -> "Proxy | None":
    """Return the proxy on the direct way to one of the cloud's hosts."""
    from gateway.cloud_api.http_proxy import find_proxy

    return find_proxy(settings.proxy, urlsplit(settings.url).scheme, host)


def _has_way_sockets(config: GatewayConfig) -> bool:
    return bool(config.cloud.url) and config.cluster.admit != "none"
