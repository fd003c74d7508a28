"""The gateway: builds every part from its configuration and runs them. Read this first.

devices ──► broker ──► containers          people ──► sidecar ──► containers
              │ └────► registry of devices              ▲  ▲
              ▼                                     SEP │  │ BEP (its visitors)
            spool ───► uplink ◄────────────────────────► cloud
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from errno import EACCES, EADDRINUSE
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from broker import Broker, BrokerError
from broker.gc_tuning import spare_what_stays
from broker.journal import Journal, JournalError
from gateway.access.guard import Guard
from gateway.access.tokens import AccessTokens
from gateway.cluster.members import Cluster
from gateway.config import GatewayConfig
from gateway.devices.admission import DeviceAdmission, confirm
from gateway.devices.claims import Claims
from gateway.devices.registry import DeviceRegistry
from gateway.errors import GatewayError
from gateway.mqtt.access import Access, AccessPorts
from gateway.mqtt.listeners import BrokerListeners, describe_encryption, open_broker_listeners
from gateway.node.account import Account
from gateway.node.identity import load_identity
from gateway.node.record import Node
from gateway.node.state_folder import hold_state, make_private, runtime_folder
from gateway.services import NodeInfo, ServiceHost
from gateway.sidecar.app import CloudCalls, Sidecar, SidecarParts, build_sidecar
from gateway.sidecar.names import own_names
from gateway.sidecar.server import listen_tcp, listen_unix, make_server, serve
from gateway.sidecar.visitors import Visitors
from gateway.status import CloudSources, GatewayStatus, StatusSources
from gateway.storage.database import GatewayDatabase
from gateway.tls import client_context, server_certificate
from gateway.uplink.cloud_clock import CloudClock
from protocol.records import NodeRecord
from settings.addresses import format_address
from web import ServerCertificate
from web.addresses import is_loopback_host
from web.host_guard import HostGuard
from web.origins import HostPolicy

if TYPE_CHECKING:  # what only a node with a cloud needs in memory
    from gateway.sep.service import SepService
    from gateway.tunnel import TunnelHost
    from gateway.tunnel.grants import BepService
    from gateway.uplink.cloud_api import CloudApi
    from gateway.uplink.uplink import Uplink

logger = logging.getLogger(__name__)

UPLINK = "uplink"
VISITORS = "visitors.sock"  # where tunnels bring the visitors of BEPs
READY_WAIT_S = 3.0  # for SEP and containers, before the line is printed without them
READY_POLL_S = 0.05
RESTART_S = 5.0  # of the uplink after a fault of ours
CONTAINERS_STOP_S = 2.5  # all of stopping takes less than 5 s


async def run_gateway(config: GatewayConfig) -> None:
    """Run until SIGTERM or SIGINT; GatewayError when it cannot start."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        with hold_state(config.node.state):
            async with AsyncExitStack() as stack:
                await (await _build(config, stack)).run(stopping)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    logger.info("stopped")


@dataclass(frozen=True, slots=True)
class _Base:
    """The parts below the broker."""

    config: GatewayConfig
    store: GatewayDatabase
    node: Node
    registry: DeviceRegistry
    claims: Claims
    services: ServiceHost
    cloud_clock: CloudClock
    sockets: Path  # the folder of this process's Unix sockets
    listeners: BrokerListeners
    sidecar_certificate: ServerCertificate | None


@dataclass(frozen=True, slots=True)
class _Cloud:
    """The parts that exist only with a cloud."""

    uplink: "Uplink"
    sep: "SepService"
    tunnel: "TunnelHost"
    api: "CloudApi"
    beps: "BepService"
    calls: CloudCalls
    parts: CloudSources


class Gateway:
    """All parts; runs them and stops them in order."""

    def __init__(
        self, base: _Base, broker: Broker, status: GatewayStatus, sidecar: Sidecar
    ) -> None:
        self._base, self._broker, self._status, self._sidecar = base, broker, status, sidecar
        self.admission: DeviceAdmission
        self.cluster: Cluster
        self.cloud: _Cloud | None = None

    async def run(self, stopping: asyncio.Event) -> None:
        """Run until told to stop; GatewayError when something cannot listen."""
        api = self._listen()
        self.admission.attach()
        if self.cloud is not None:
            self.cloud.uplink.attach()  # before the broker: it acknowledges what nobody keeps
        await self._start_broker()
        async with asyncio.TaskGroup() as tasks:
            running = {
                name: tasks.create_task(part, name=name) for name, part in self._parts(api).items()
            }
            try:
                await stopping.wait()
                logger.info("stopping")
                if UPLINK in running:  # or it would take commands that no broker keeps any more
                    running[UPLINK].cancel()
                await asyncio.gather(self._stop_containers(), self._end_beps())
            finally:
                await self._broker.stop()
            for task in running.values():
                task.cancel()
        await self.admission.save()

    def _parts(self, api: socket.socket) -> dict[str, Coroutine[None, None, None]]:
        parts = {
            "sidecar": self._serve_sidecar(api),
            "devices": self.admission.run(),
            "cluster": self.cluster.run(),
            "containers": self._start_containers(),
            "ready": self._announce(),
        }
        base = self._base
        for certificate in (*base.listeners.certificates, base.sidecar_certificate):
            if certificate is not None:
                parts[f"certificate of {certificate.section}"] = certificate.follow()
        if self.cloud is not None:
            tunnel = self.cloud.tunnel
            door = Visitors(
                self._sidecar.microservices, lambda: {bep.bep_id for bep in tunnel.beps()}
            )
            listener = listen_unix(self._base.sockets / VISITORS)
            parts["visitors"] = serve(make_server(door), listener)
            parts[UPLINK] = self._keep_up(self.cloud.uplink.run)
            parts["beps"] = self._keep_up(self.cloud.beps.run)
        return parts

    def _listen(self) -> socket.socket:
        settings = self._base.config.sidecar
        listener = listen_tcp(settings.host, settings.port)
        listening = self._base.node.listening
        listening.api_host, listening.api_port = settings.host, listener.getsockname()[1]
        listening.api_scheme = "http" if self._base.sidecar_certificate is None else "https"
        return listener

    def _serve_sidecar(self, api: socket.socket) -> Coroutine[None, None, None]:
        settings, certificate = self._base.config.sidecar, self._base.sidecar_certificate
        own = own_names(self._base.node.name, settings.host, settings.hosts)
        policy = HostPolicy(
            lambda: own | certificate.names if certificate else own, "[sidecar]", settings.origins
        )
        app = HostGuard(self._sidecar.api, policy)
        server = make_server(app, certificate.context if certificate else None)
        self._status.api_counts = server.bounds.counts
        return serve(server, api)

    async def _start_broker(self) -> None:
        try:
            await self._broker.start()
        except BrokerError as exc:
            raise _cannot_listen(self._base.config, exc) from exc
        self._status.listeners = tuple(
            format_address(*address[:2])
            for bound in self._broker.all_addresses
            for address in bound
            if isinstance(address, tuple)
        )
        if self._base.config.broker.anonymous == "loopback":
            logger.warning(
                "anyone on this machine may read and write topics ([broker] anonymous = loopback)"
            )

    async def _start_containers(self) -> None:
        await self._base.services.start()
        self._status.services_loaded = True
        self._on_services_changed()
        self._base.services.on_change = self._on_services_changed
        self._base.services.on_deleted = self._broker.disconnect

    async def _stop_containers(self) -> None:
        try:
            async with asyncio.timeout(CONTAINERS_STOP_S):
                await self._base.services.stop()
        except TimeoutError:
            logger.warning("containers did not stop within %.0f s", CONTAINERS_STOP_S)

    async def _end_beps(self) -> None:
        if self.cloud is not None:
            await self.cloud.beps.stop()

    def _on_services_changed(self) -> None:
        self._broker.rights_changed()
        self.cluster.publish()
        if self.cloud is not None:
            self.cloud.uplink.on_changed()

    async def _keep_up(self, run: Callable[[], Awaitable[None]]) -> None:
        """Run a part that the local side can do without: its faults may not end the gateway."""
        while True:
            try:
                await run()
            except Exception:
                logger.exception(
                    "a part of the uplink failed; starting it again in %.0f s", RESTART_S
                )
            await asyncio.sleep(RESTART_S)

    async def _announce(self) -> None:
        """Print the ready line, once everything is up or has had its time."""
        status, node = self._status, self._base.node
        await self.cluster.elected.wait()
        for _ in range(int(READY_WAIT_S / READY_POLL_S)):
            if not status.reasons():
                break
            await asyncio.sleep(READY_POLL_S)
        spare_what_stays()
        listening = node.listening
        first, *others = status.listeners or ("on Unix sockets only",)
        also = f", MQTT also on {', '.join(others)}" if others else ""
        sys.stdout.write(
            f"gateway ready: node {node.node_id[:12]}, MQTT {first}"
            f"{describe_encryption(self._base.config.broker)}, "
            f"API {listening.api_scheme}://"
            f"{format_address(listening.api_host, listening.api_port)}, "
            f"{status.role()}, SEP {status.sep_state()}{also}\n"
        )
        sys.stdout.flush()


async def _build(config: GatewayConfig, stack: AsyncExitStack) -> Gateway:
    """Build all parts and join them; nothing listens and nothing runs yet."""
    base = await _build_base(config, stack)
    node, clock, cloud_clock = base.node, time.time, base.cloud_clock
    broker = _build_broker(base)
    admission = DeviceAdmission(base.store, base.registry, base.claims, broker)
    cluster = Cluster(node.node_id, broker, node.signed_record, clock)
    cloud = await _build_cloud(base, broker, cluster, stack) if config.cloud.url else None
    status = GatewayStatus(
        StatusSources(
            node=node,
            broker=broker,
            cluster=cluster,
            admission=admission,
            services=base.services,
            tunnel=cloud.tunnel if cloud else None,
            cloud=cloud.parts if cloud else None,
        ),
        clock,
    )
    tokens = AccessTokens(
        node.node_id,
        node.account,
        base.store,
        cloud.api.signing_keys if cloud else None,
        cloud_clock.now,
    )
    await tokens.load()
    sidecar = build_sidecar(
        SidecarParts(
            guard=Guard(node.identity.api_key, tokens),
            status=status,
            node=node,
            cluster=cluster,
            admission=admission,
            services=base.services,
            cloud=cloud.calls if cloud else None,
            clock=cloud_clock.now,
        )
    )
    node.services = base.services.services
    node.supernode_id = lambda: cluster.election.supernode_id
    gateway = Gateway(base, broker, status, sidecar)
    gateway.admission, gateway.cluster, gateway.cloud = admission, cluster, cloud
    if cloud is not None:
        cloud.sep.app = sidecar.api
    return gateway


async def _build_base(config: GatewayConfig, stack: AsyncExitStack) -> _Base:
    state = config.node.state
    identity = load_identity(state)
    store = GatewayDatabase(state / "gateway.db")
    await store.open()
    stack.push_async_callback(store.close)
    account = Account(store)
    await account.load()
    name = config.node.name or socket.gethostname()[:64]
    cloud_clock = CloudClock(time.time, lambda: time.clock_gettime(time.CLOCK_BOOTTIME))
    node = Node(identity, name, account, cloud_clock.now)
    sockets = make_private(
        runtime_folder(state, os.environ.get("XDG_RUNTIME_DIR", ""), os.getuid())
    )
    services = ServiceHost(
        make_private(state / "services"),
        make_private(sockets / "services"),
        sockets / "broker.sock",
        NodeInfo(node.node_id, lambda: account.account_id),
    )
    logger.info("node %s (%s), state in %s", node.node_id[:12], name, state)
    return _Base(
        config, store, node, DeviceRegistry(await store.devices()), Claims(await store.claims()),
        services, cloud_clock, sockets,
        open_broker_listeners(config.broker, sockets / "broker.sock"),
        server_certificate(config.sidecar.tls_cert, config.sidecar.tls_key, "[sidecar]"),
    )  # fmt: skip


def _build_broker(base: _Base) -> Broker:
    settings = base.config.broker
    access = Access(
        base.registry,
        base.claims,
        base.node.identity.api_key,
        AccessPorts(base.services.authenticate, partial(confirm, base.store), time.time),
        loopback_anonymous=settings.anonymous == "loopback",
    )
    store = None
    if settings.durability != "memory":
        store = Journal(base.config.node.state / "broker", settings.durability)
    # nobody may read $SYS here: the gateway has a status and metrics of its own
    listeners = base.listeners.listeners
    return Broker(listeners, access, access, settings.limits.build(), store=store, sys_interval_s=0)


async def _build_cloud(
    base: _Base, broker: Broker, cluster: Cluster, stack: AsyncExitStack
) -> _Cloud:
    from gateway.membership import Membership
    from gateway.sep.service import SepService
    from gateway.tunnel import TunnelHost
    from gateway.tunnel.dial import dial_tcp
    from gateway.tunnel.grants import BepService
    from gateway.uplink.cloud_api import CloudApi
    from gateway.uplink.connection import Endpoint
    from gateway.uplink.proxy import dial_through, find_proxy
    from gateway.uplink.rules import Rules
    from gateway.uplink.spool import Spool
    from gateway.uplink.spooled import WhenFull
    from gateway.uplink.uplink import NodePorts, Uplink, UplinkParts

    config, node, clock = base.config, base.node, base.cloud_clock
    settings = config.cloud
    tls = client_context(settings.ca_file) if settings.tls else None
    scheme = urlsplit(settings.url).scheme
    host, port = settings.mqtt_address
    endpoint = Endpoint(host, port, tls, find_proxy(settings.proxy, scheme, host))
    proxy = find_proxy(settings.proxy, scheme, urlsplit(settings.url).hostname or "")
    api = CloudApi(settings.url, node.identity.key, tls, clock, proxy)
    stack.push_async_callback(api.close)
    if not settings.tls and not is_loopback_host(urlsplit(settings.url).hostname or ""):
        logger.warning("the link to %s is not encrypted: use https", settings.url)
    rule = WhenFull(config.spool.when_full)
    spool = Spool(config.node.state / "spool.db", config.spool.limit_bytes, rule)
    await spool.open()
    stack.push_async_callback(spool.close)
    dial = dial_through(settings.proxy, scheme, dial_tcp)
    trust = partial(client_context, settings.ca_file)
    tunnel = TunnelHost(base.sockets / VISITORS, clock=clock.now, dial=dial, trust=trust)
    stack.push_async_callback(tunnel.stop)
    beps = BepService(node.node_id, node.account, api, tunnel, clock.now)
    sep = SepService(node.identity, clock.now)
    stack.push_async_callback(sep.stop)

    def on_registered(stored: NodeRecord) -> None:
        node.learn_sep_url(stored)
        cluster.publish()

    uplink = Uplink(
        endpoint,
        NodePorts(node.node_id, node.signed_record, on_registered),
        UplinkParts(
            api=api,
            account=node.account,
            rules=Rules(config.uplink.topics),
            spool=spool,
            local=broker.local_client("uplink"),
            sep=sep,
        ),
    )
    membership = Membership(node.account, api, uplink.associate, node.edge_id_token, time.time)
    stack.push_async_callback(membership.cancel)
    return _Cloud(
        uplink=uplink,
        sep=sep,
        tunnel=tunnel,
        api=api,
        beps=beps,
        calls=CloudCalls(
            uplink.associate,
            api.account_nodes,
            beps,
            membership,
            settings.url,
        ),
        parts=CloudSources(uplink, spool, clock, settings.url),
    )


def _cannot_listen(config: GatewayConfig, exc: BrokerError) -> GatewayError:
    """Return the broker's error with the setting that changes it."""
    if isinstance(exc, JournalError):
        return GatewayError(str(exc))
    cause, (what, _, why) = exc.__cause__, str(exc).partition(": ")
    number = cause.errno if isinstance(cause, OSError) else None
    if number is not None and number > 0:
        why = os.strerror(number).lower()  # not its own text: create_server() adds to that
    key = "tls_port" if what.endswith(f":{config.broker.tls_port}") else "port"
    hint = f"; set [broker] {key} or HECATE_GATEWAY_BROKER_{key.upper()}"
    if config.broker.listener:
        hint = "; set another address in [[broker.listener]]"
    return GatewayError(f"{what}: {why}{hint if number in (EADDRINUSE, EACCES) else ''}")
