"""Joins the parts of microservices into the one that the gateway sees."""

import asyncio
import time
from collections.abc import AsyncIterable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from broker import Overflow, OverflowRule, QueueStatus
from gateway.http.routes import ApiRoute
from gateway.services.api.calls import ClientCheck, McmAccess, access_of
from gateway.services.api.images import image_fields
from gateway.services.api.messages import ContainerMessages
from gateway.services.api.routes import McmParts, mcm_routes
from gateway.services.configuration.values import ValueStore
from gateway.services.deadletters import DeadLetterKeeper
from gateway.services.deadletters.keeper import LetterBroker
from gateway.services.deploying.store_quota import StoreQuotas
from gateway.services.deployments import Deployed, Deployments
from gateway.services.egress.ports import EgressTargets
from gateway.services.egress.sockets import ConnectedRuntime, GatewaySockets
from gateway.services.images.catalogue import Catalogue
from gateway.services.images.upload import Upload
from gateway.services.limits import ServiceLimits
from gateway.services.proxy.containers import ContainerProxy, find_websocket_path
from gateway.services.routes import ContainerRoute
from gateway.services.runtimes.isolation import IsolationPolicy
from gateway.services.runtimes.port import LOGIN_PREFIX, Runtime
from gateway.services.runtimes.python import PythonRuntime
from gateway.services.supervisor import NodeInfo, ServiceContext, Supervisor
from gateway.services.switching.start_slots import StartSlots
from microservice.control import JAVASCRIPT
from microservice.mqtt.dead_letters import dead_letter_topic
from microservice.mqtt.requests import RESPONSES, response_topic
from microservice.telemetry.samples import MetricSample
from protocol.records import OfferedService
from web.asgi import Receive, Scope, Send

DEFAULT_LIMITS = ServiceLimits()
DEFAULT_ISOLATION = IsolationPolicy()


@dataclass(frozen=True, slots=True)
class ContainerRights:
    """The topic filters a container may read and write; what matches none is denied."""

    container_id: str
    subscribe: tuple[str, ...]
    publish: tuple[str, ...]
    own_topics: tuple[str, ...] = ()  # of the gateway, that this container alone may write
    overflow: OverflowRule = field(default_factory=OverflowRule)


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    """The status of a container, for people."""

    id: str
    name: str
    image: str
    state: str
    path: str
    expose: str
    error: str
    started_at: float  # unix seconds; 0 when it never was
    handled: int  # messages and requests
    failed: int
    dropped: int
    restarts: int = 0
    last_end: str = ""  # the reason of the last end that was not requested
    last_end_at: float = 0.0  # unix seconds
    network_refused: int = 0  # requests to what [network] does not allow
    retried: int = 0  # further calls of a handler for the same message
    overdue: int = 0  # handlers ended at their limit
    messages: ContainerMessages = field(default_factory=ContainerMessages)
    version: int = 0  # of its history; 0 before the first was ready
    note: str = ""  # the reason why the newest version is not the one that runs


class ServiceHost:
    """Deploys, runs and reaches microservices."""

    def __init__(  # noqa: PLR0913  # the gateway's parts, each once
        self,
        state: Path,
        sockets: Path,
        broker_socket: Path,
        node: NodeInfo,
        limits: ServiceLimits = DEFAULT_LIMITS,
        runtimes: Sequence[Runtime] | None = None,
        isolation: IsolationPolicy = DEFAULT_ISOLATION,
    ) -> None:
        """Open the catalogue in the state folder; runtimes are Python's, if not given."""
        self.folder = state
        self.is_loaded = False  # start() has returned once
        self._on_change: list[Callable[[], object]] = []
        self._on_deleted: list[Callable[[str], object]] = []
        self._limits = limits
        self._gateway_sockets = GatewaySockets(sockets, limits.containers, self._find_service)
        self._runtimes = [
            ConnectedRuntime(runtime, self._gateway_sockets)
            for runtime in runtimes or (PythonRuntime(limits, time.time, state, isolation),)
        ]
        context = ServiceContext(
            runtimes=_by_name(self._runtimes),
            limits=limits,
            sockets=sockets,
            broker_socket=broker_socket,
            values=ValueStore(state / "containers"),
            clock=time.time,
            on_change=self._changed,
            on_deleted=self._deleted,
            start_slots=StartSlots(limits.starts),
        )
        self._proxy = ContainerProxy(self._find_supervisor, limits)
        catalogue = Catalogue(state)
        self._deployments = Deployments(catalogue, context, node)
        self._quotas = StoreQuotas(self._deployments.table, limits, catalogue.directory, time.time)
        self._watching: asyncio.Task[None] | None = None
        self._dead_letters = DeadLetterKeeper(
            state / "deadletters.db", limits.deadletters, limits.deadletter_bytes, time.time
        )
        self._queue: Callable[[str], QueueStatus | None] = lambda _: None
        self._forgetting: set[asyncio.Task[None]] = set()

    @property
    def deployments(self) -> Deployments:
        """The images and containers of this node."""
        return self._deployments

    @property
    def limits(self) -> ServiceLimits:
        """The limits of microservices."""
        return self._limits

    async def start(self, targets: EgressTargets | None = None) -> None:
        """Start the containers that ran before; do not wait until they are ready.

        Their requests lead to the targets.
        """
        self._gateway_sockets.lead_to(targets)
        await self._dead_letters.load()
        await self._deployments.resume()
        self._watching = asyncio.create_task(self._quotas.run(), name="store quotas")
        self.is_loaded = True

    def attach(self, broker: LetterBroker, queue: Callable[[str], QueueStatus | None]) -> None:
        """Take the dead letters of containers from the broker, and look at their queues there."""
        self._dead_letters.attach(broker)
        self._queue = queue

    def add_listener(
        self, on_change: Callable[[], object], on_deleted: Callable[[str], object]
    ) -> None:
        """Call on_change after each change, on_deleted with the broker identity of a container."""
        self._on_change.append(on_change)
        self._on_deleted.append(on_deleted)

    async def stop(self) -> None:
        """End all processes."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        self._proxy.close()
        await self._deployments.stop()
        await self._gateway_sockets.stop()
        for runtime in self._runtimes:
            runtime.close()
        await asyncio.gather(*self._forgetting, return_exceptions=True)
        await self._dead_letters.close()

    def mcm_routes(self, check: ClientCheck, access: McmAccess | None = None) -> list[ApiRoute]:
        """Return /mcm/v1; the check returns the client id of a request, or raises Problem.

        Without access no caller acts for another client, and no code is accepted.
        """
        parts = McmParts(self._deployments, self._dead_letters, self._messages, self._limits)
        return mcm_routes(parts, access or access_of(check))

    @property
    def upload_bytes(self) -> int:
        """The largest archive of an image."""
        return self._limits.image.upload_bytes

    async def add_image(
        self, client_id: str, archive: AsyncIterable[bytes], digest: str = ""
    ) -> dict[str, Any]:
        """Store an image that another node sends; return it as the API shows it.

        With a digest it must be that one, and containers go on with what they run.

        Raises:
            ServicesError: it cannot be used.
        """
        upload_bytes = self._limits.image.upload_bytes
        async with Upload(self._deployments.scratch_folder, upload_bytes) as upload:
            await upload.write_all(archive)
            file = await upload.finish()
            image = await self._deployments.put_image(
                client_id, file, time.time(), store_only=bool(digest), digest=digest
            )
            return image_fields(image)

    def find(self, path: str) -> ContainerRoute | None:
        """Return the route of a path; None when no microservice has it."""
        routes = self._deployments.routes
        return routes.find(path) or routes.find(find_websocket_path(path))

    async def serve(
        self, route: ContainerRoute, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Pass a request to its container."""
        await self._proxy.serve(route, scope, receive, send)

    def containers(self) -> list[ContainerStatus]:
        """Return the status of each container."""
        refused = {name: each.refused for name, each in self._gateway_sockets.counters().items()}
        return [
            replace(
                _status(one, self._messages(one.stored.container_id)),
                network_refused=refused.get(one.stored.container_id, 0),
            )
            for one in self._deployments.table.all()
        ]

    def samples(self) -> dict[str, tuple[MetricSample, ...]]:
        """Return what the service of each container measures, by container id."""
        deployed = self._deployments.table.all()
        return {one.stored.container_id: one.supervisor.samples for one in deployed}

    def services(self) -> tuple[OfferedService, ...]:
        """Return the microservices of this node, for its record."""
        return tuple(
            OfferedService(
                one.stored.container_id, one.stored.container_id, one.supervisor.version.base
            )
            for one in self._deployments.table.all()
            if one.supervisor.version.base and not one.stored.stopped
        )

    def authenticate(self, username: str, password: bytes) -> ContainerRights | None:
        """Return the rights of a container at the broker; None for a wrong name or password."""
        container_id = username.removeprefix(LOGIN_PREFIX)
        deployed = self._deployments.table.get(container_id)
        if deployed is None or container_id == username:
            return None
        version = deployed.supervisor.rights_version(password)
        if version is None:
            return None
        mqtt = version.manifest.mqtt
        # the topics of its requests and answers need no entry in the manifest
        subscribe = (*mqtt.subscribe, response_topic(container_id))
        publish = (*mqtt.publish, RESPONSES)
        own = (dead_letter_topic(container_id),)
        rule = OverflowRule(Overflow(mqtt.overflow), mqtt.slow_s)
        return ContainerRights(container_id, subscribe, publish, own, rule)

    def _messages(self, container_id: str) -> ContainerMessages:
        letters = self._dead_letters.counts(container_id)
        queue = self._queue(f"{LOGIN_PREFIX}{container_id}") or QueueStatus()
        return ContainerMessages(
            queue.waiting, queue.in_flight, queue.held, queue.dropped, queue.state,
            letters.kept, letters.dropped,
        )  # fmt: skip

    def _find_supervisor(self, container_id: str) -> Supervisor | None:
        deployed = self._deployments.table.get(container_id)
        return deployed.supervisor if deployed else None

    def _find_service(self, service_type: str) -> ContainerRoute | None:
        for one in self._deployments.table.all():
            if one.stored.container_id.lower() == service_type and not one.stored.stopped:
                return self._deployments.routes.find(one.supervisor.version.base)
        return None

    def _deleted(self, container_id: str) -> None:
        forgetting = asyncio.create_task(self._dead_letters.forget(container_id))
        self._forgetting.add(forgetting)
        forgetting.add_done_callback(self._forgetting.discard)
        self._gateway_sockets.forget(container_id)
        for listener in self._on_deleted:
            listener(f"{LOGIN_PREFIX}{container_id}")

    def _changed(self) -> None:
        for listener in self._on_change:
            listener()


def _by_name(runtimes: Sequence[Runtime]) -> dict[str, Runtime]:
    found = {runtime.name: runtime for runtime in runtimes}
    if PythonRuntime.name in found:  # its process evaluates an index.js, too
        found.setdefault(JAVASCRIPT, found[PythonRuntime.name])
    return found


def _status(deployed: Deployed, messages: ContainerMessages) -> ContainerStatus:
    stored, supervisor = deployed.stored, deployed.supervisor
    counts, version = supervisor.counts, supervisor.version
    running = deployed.history.running
    return ContainerStatus(
        id=stored.container_id,
        name=stored.name,
        image=stored.image_id.removeprefix(f"{stored.client_id}-"),
        state=supervisor.state.value,
        path=version.base,
        expose=version.manifest.http.expose,
        error=supervisor.error,
        started_at=supervisor.started_at,
        handled=counts.handled,
        failed=counts.failed,
        dropped=counts.dropped + messages.dropped,
        retried=counts.retried,
        overdue=counts.overdue,
        restarts=supervisor.restarts,
        last_end=supervisor.last_end.reason,
        last_end_at=supervisor.last_end.at,
        messages=messages,
        version=running.number if running else 0,
        note=deployed.history.note,
    )
