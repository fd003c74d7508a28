"""Runs the parts of a gateway and stops them in order.

Start: listen for HTTP, subscribe the local clients, start the broker, then run all parts. Local
clients subscribe before the broker listens, because the broker acknowledges messages that nothing
stores. Stop: the uplink first, because it would take commands that no broker stores any more; then
containers and BEPs, then the broker, then all other parts.
"""

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from errno import EACCES, EADDRINUSE
from pathlib import Path
from typing import TYPE_CHECKING

from broker import Broker, BrokerError
from broker.gc_tuning import spare_what_stays
from broker.journal import JournalError
from gateway.access.tokens import AccessTokens
from gateway.cluster.cluster import Cluster
from gateway.cluster.election.heartbeat import Role
from gateway.config import GatewayConfig
from gateway.devices.admission import DeviceAdmission
from gateway.errors import GatewayError
from gateway.mqtt.listeners import BrokerListeners, describe_encryption
from gateway.node.credential import CredentialKeeper
from gateway.node.record import ApiAddress, Node
from gateway.node.warnings import NodeWarnings
from gateway.roles import RoleController, keep_running
from gateway.sensors.hub import SensorHub
from gateway.services import ServiceHost
from gateway.services.egress.ports import EgressTargets
from gateway.sidecar.app import CloudCalls, Sidecar
from gateway.sidecar.names import own_names
from gateway.sidecar.server import listen_tcp, listen_unix, make_server, serve
from gateway.sidecar.visitors import Visitors
from gateway.status import CloudSources, GatewayStatus
from settings.addresses import format_address
from web import ServerCertificate
from web.browsers.host_guard import HostGuard
from web.browsers.origins import HostPolicy

if TYPE_CHECKING:  # a node without a cloud does not load them
    from gateway.cloud_api.bep_calls import BepCalls
    from gateway.cloud_api.client import CloudApi
    from gateway.cloud_api.sep_calls import SepCalls
    from gateway.links.device_links import DeviceLinks
    from gateway.mqtt.users import BrokerUsers
    from gateway.tunnel import TunnelHost
    from gateway.tunnel.grants import BepService
    from gateway.uplink.uplink import Uplink

logger = logging.getLogger(__name__)

READY_WAIT_S = 3.0  # for SEP and containers; the ready line appears after it in any case
READY_POLL_S = 0.05
CONTAINERS_STOP_S = 2.5  # all of stopping takes less than 5 s


@dataclass(frozen=True, slots=True)
class CloudLinkParts:
    """The parts that exist only with a cloud."""

    api: "CloudApi"
    uplink: "Uplink"
    tunnel: "TunnelHost"
    beps: "BepService"
    calls: CloudCalls
    sources: CloudSources
    sep_calls: "SepCalls"
    bep_calls: "BepCalls"


@dataclass(frozen=True, slots=True)
class GatewayParts:
    """All parts of a gateway."""

    config: GatewayConfig
    node: Node
    sockets: Path  # the folder of this process's Unix sockets
    broker_listeners: BrokerListeners
    sidecar_certificate: ServerCertificate | None
    services: ServiceHost
    targets: EgressTargets  # of the requests of containers
    broker: Broker
    users: "BrokerUsers | None"  # of [broker.access]
    admission: DeviceAdmission
    links: "DeviceLinks | None"  # to devices without IP
    sensors: SensorHub
    cluster: Cluster
    credential: CredentialKeeper
    warnings: NodeWarnings
    tokens: AccessTokens
    cloud: CloudLinkParts | None
    status: GatewayStatus
    sidecar: Sidecar
    roles: RoleController


class Gateway:
    """A gateway that is built and not started."""

    def __init__(self, parts: GatewayParts) -> None:
        self._parts = parts

    async def run(self, stopping: asyncio.Event) -> None:
        """Run until `stopping` is set; GatewayError when a listener cannot listen."""
        parts = self._parts
        api = self._listen()
        parts.cluster.listen()
        parts.admission.attach()
        parts.services.attach(parts.broker.local_client("containers"), parts.broker.queue)
        if parts.cloud is not None:
            parts.cloud.uplink.attach()
        await self._start_broker()
        async with asyncio.TaskGroup() as tasks:
            running = {
                name: tasks.create_task(run, name=name) for name, run in self._runs(api).items()
            }
            try:
                await stopping.wait()
                logger.info("stopping")
                await parts.cluster.leave()
                running["roles"].cancel()
                await asyncio.gather(self._stop_containers(), self._stop_beps())
            finally:
                await parts.broker.stop()
            for task in running.values():
                task.cancel()
        await parts.admission.save()
        await parts.sensors.stop()

    def _runs(self, api: socket.socket) -> dict[str, Coroutine[None, None, None]]:
        """Return the coroutines that run side by side, by name."""
        parts = self._parts
        runs = {
            "sidecar": self._serve_sidecar(api),
            "devices": parts.admission.run(),
            "sensors": keep_running("sensors", parts.sensors.run),
            "cluster": parts.cluster.run(parts.sidecar.api),
            "roles": parts.roles.run(),
            "containers": self._start_containers(),
            "warnings": parts.warnings.run(),
            "ready": self._print_ready_line(),
        }
        if parts.links is not None:
            runs["links"] = keep_running("links", parts.links.run)
        for certificate in (*parts.broker_listeners.certificates, parts.sidecar_certificate):
            if certificate is not None:
                runs[f"certificate of {certificate.section}"] = certificate.follow()
        if parts.users is not None:
            runs["users"] = self._follow_users(parts.users)
        if parts.cloud is not None:
            runs["credential"] = parts.credential.run(self._fetch_credential)
            runs["visitors"] = self._serve_visitors(parts.cloud)
            runs["beps"] = keep_running("beps", parts.cloud.beps.run)
        if parts.sidecar.rollouts is not None:
            runs["rollouts"] = keep_running("rollouts", parts.sidecar.rollouts.run)
        return runs

    # HTTP ------------------------------------------------------------------------------

    def _listen(self) -> socket.socket:
        settings = self._parts.config.sidecar
        listener = listen_tcp(settings.host, settings.port)
        scheme = "http" if self._parts.sidecar_certificate is None else "https"
        port = listener.getsockname()[1]
        self._parts.node.note_api_address(ApiAddress(scheme, settings.host, port))
        return listener

    def _serve_sidecar(self, api: socket.socket) -> Coroutine[None, None, None]:
        settings, certificate = self._parts.config.sidecar, self._parts.sidecar_certificate
        own = own_names(self._parts.node.name, settings.host, settings.hosts)
        policy = HostPolicy(
            lambda: own | certificate.names if certificate else own, "[sidecar]", settings.origins
        )
        app = HostGuard(self._parts.sidecar.api, policy)
        server = make_server(app, certificate.context if certificate else None)
        self._parts.status.note_api(server.bounds.counts)
        return serve(server, api)

    def _serve_visitors(self, cloud: CloudLinkParts) -> Coroutine[None, None, None]:
        app = Visitors(
            self._parts.sidecar.microservices, lambda: {bep.bep_id for bep in cloud.tunnel.beps()}
        )
        return serve(make_server(app), listen_unix(self._parts.sockets / "visitors.sock"))

    # broker and containers -------------------------------------------------------------

    async def _start_broker(self) -> None:
        broker, settings = self._parts.broker, self._parts.config.broker
        try:
            await broker.start()
        except BrokerError as exc:
            raise _cannot_listen(self._parts.config, exc) from exc
        self._parts.status.note_broker(
            format_address(*address[:2])
            for bound in broker.all_addresses
            for address in bound
            if isinstance(address, tuple)
        )
        if settings.anonymous == "loopback":
            logger.warning(
                "anyone on this machine may read and write topics ([broker] anonymous = loopback)"
            )

    async def _fetch_credential(self) -> str:
        """Return a new credential of the account, and have the keys to check those of others."""
        cloud = self._parts.cloud
        assert cloud is not None  # it runs with one only
        await self._parts.tokens.refresh()
        return await cloud.api.account_credential()

    def _follow_users(self, users: "BrokerUsers") -> Coroutine[None, None, None]:
        from gateway.mqtt.users import UserPorts

        broker = self._parts.broker
        return users.follow(UserPorts(broker.rights_changed, broker.cut, broker.revoke))

    async def _start_containers(self) -> None:
        services = self._parts.services
        await services.start(self._parts.targets)
        self._on_services_changed()
        services.add_listener(self._on_services_changed, self._parts.broker.disconnect)

    def _on_services_changed(self) -> None:
        self._parts.broker.rights_changed()
        self._parts.cluster.publish()
        if self._parts.cloud is not None:
            self._parts.cloud.uplink.register_soon()

    async def _stop_containers(self) -> None:
        try:
            async with asyncio.timeout(CONTAINERS_STOP_S):
                if self._parts.sidecar.rollouts is not None:
                    await self._parts.sidecar.rollouts.stop()
                await self._parts.services.stop()
        except TimeoutError:
            logger.warning("containers did not stop within %.0f s", CONTAINERS_STOP_S)

    async def _stop_beps(self) -> None:
        if self._parts.cloud is not None:
            await self._parts.cloud.beps.stop()

    # the ready line --------------------------------------------------------------------

    async def _print_ready_line(self) -> None:
        """Print one line when the gateway is ready, or READY_WAIT_S after the election."""
        status, node = self._parts.status, self._parts.node
        await self._parts.cluster.next_role(Role.LISTENING)
        for _ in range(int(READY_WAIT_S / READY_POLL_S)):
            if not status.reasons():
                break
            await asyncio.sleep(READY_POLL_S)
        spare_what_stays()
        first, *others = status.listeners or ("on Unix sockets only",)
        also = f", MQTT also on {', '.join(others)}" if others else ""
        plain = describe_encryption(self._parts.config.broker)
        sys.stdout.write(
            f"gateway ready: node {node.node_id[:12]}, MQTT {first}{plain}, API {node.api}, "
            f"{status.role()}, SEP {status.sep_state()}{also}\n"
        )
        sys.stdout.flush()


def _cannot_listen(config: GatewayConfig, exc: BrokerError) -> GatewayError:
    """Return the broker's error with the setting that changes it."""
    if isinstance(exc, JournalError):
        return GatewayError(str(exc))
    cause, (what, _, why) = exc.__cause__, str(exc).partition(": ")
    number = cause.errno if isinstance(cause, OSError) else None
    if number is not None and number > 0:
        why = os.strerror(number).lower()  # create_server() adds to the text of the error
    key = "tls_port" if what.endswith(f":{config.broker.tls_port}") else "port"
    hint = f"; set [broker] {key} or HECATE_GATEWAY_BROKER_{key.upper()}"
    if config.broker.listener:
        hint = "; set another address in [[broker.listener]]"
    return GatewayError(f"{what}: {why}{hint if number in (EADDRINUSE, EACCES) else ''}")
