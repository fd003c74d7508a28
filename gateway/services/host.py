"""Joins the parts of microservices into the one that the gateway sees."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.http.problems import problem_response
from gateway.http.routes import ApiRoute
from gateway.services.api.calls import ClientCheck
from gateway.services.api.routes import mcm_routes
from gateway.services.containers import ContainerState
from gateway.services.deployments import Deployed, Deployments
from gateway.services.images.catalogue import Catalogue
from gateway.services.limits import ServiceLimits
from gateway.services.proxy import ProxyExchange
from gateway.services.routes import ContainerRoute
from gateway.services.runtimes.port import LOGIN_PREFIX, Runtime
from gateway.services.runtimes.python import PythonRuntime
from gateway.services.supervisor import NodeInfo, ServiceContext
from gateway.services.values import ValueStore
from microservice.mqtt.requests import RESPONSES, response_topic
from microservice.telemetry.samples import MetricSample
from protocol.records import OfferedService
from web.asgi import Receive, Scope, Send

DEFAULT_LIMITS = ServiceLimits()
RETRY = {"Retry-After": "1"}


@dataclass(frozen=True, slots=True)
class ContainerRights:
    """The topic filters a container may read and write; what matches none is denied."""

    container_id: str
    subscribe: tuple[str, ...]
    publish: tuple[str, ...]


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


class ServiceHost:
    """Deploys, runs and reaches microservices."""

    def __init__(
        self,
        state: Path,
        sockets: Path,
        broker_socket: Path,
        node: NodeInfo,
        limits: ServiceLimits = DEFAULT_LIMITS,
        runtimes: Sequence[Runtime] | None = None,
    ) -> None:
        """Open the catalogue in the state folder; runtimes are Python's, if not given."""
        self.is_loaded = False  # start() has returned once
        self._on_change: list[Callable[[], object]] = []
        self._on_deleted: list[Callable[[str], object]] = []
        self._limits = limits
        self._runtimes = runtimes or (PythonRuntime(limits, time.time),)
        context = ServiceContext(
            runtimes={runtime.name: runtime for runtime in self._runtimes},
            limits=limits,
            sockets=sockets,
            broker_socket=broker_socket,
            values=ValueStore(state / "containers"),
            clock=time.time,
            on_change=self._changed,
            on_deleted=self._deleted,
        )
        self._deployments = Deployments(Catalogue(state), context, node)
        self._requests: Counter[str] = Counter()  # being answered, by container

    async def start(self) -> None:
        """Start the containers that ran before; do not wait until they are ready."""
        await self._deployments.resume()
        self.is_loaded = True

    def add_listener(
        self, on_change: Callable[[], object], on_deleted: Callable[[str], object]
    ) -> None:
        """Call on_change after each change, on_deleted with the broker identity of a container."""
        self._on_change.append(on_change)
        self._on_deleted.append(on_deleted)

    async def stop(self) -> None:
        """End all processes."""
        await self._deployments.stop()
        for runtime in self._runtimes:
            runtime.close()

    def mcm_routes(self, check: ClientCheck) -> list[ApiRoute]:
        """Return /mcm/v1; the check returns the client id of a request, or raises Problem."""
        return mcm_routes(self._deployments, self._limits, check)

    def find(self, path: str) -> ContainerRoute | None:
        """Return the route of a path; None when no microservice has it."""
        return self._deployments.routes.find(path)

    async def serve(
        self, route: ContainerRoute, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Pass a request to its container."""
        name = route.container_id
        deployed = self._deployments.container(name)
        process = deployed.supervisor.process if deployed else None
        why = ""
        if deployed is None or process is None:
            state = deployed.supervisor.state.value if deployed else "deleted"
            why = f"cannot reach {name}: it is {state}"
            if state == ContainerState.STOPPED:
                why += f"; `hecate start {name}` starts it"
        elif self._requests[name] >= self._limits.requests:
            why = f"cannot reach {name}: it answers {self._limits.requests} requests already"
        if why or process is None:
            await problem_response(503, why, RETRY)(scope, receive, send)
            return
        self._requests[name] += 1
        try:
            exchange = ProxyExchange(
                process.http_socket, route.base, self._limits.answer_s, self._limits.stall_s
            )
            await exchange.carry(scope, receive, send)
        finally:
            self._requests[name] -= 1
            if not self._requests[name]:
                del self._requests[name]

    def containers(self) -> list[ContainerStatus]:
        """Return the status of each container."""
        return [_status(one) for one in self._deployments.containers()]

    def samples(self) -> dict[str, tuple[MetricSample, ...]]:
        """Return what the service of each container measures, by container id."""
        deployed = self._deployments.containers()
        return {one.stored.container_id: one.supervisor.samples for one in deployed}

    def services(self) -> tuple[OfferedService, ...]:
        """Return the microservices of this node, for its record."""
        return tuple(
            OfferedService(
                one.stored.container_id, one.stored.container_id, one.supervisor.version.base
            )
            for one in self._deployments.containers()
            if one.supervisor.version.base and not one.stored.stopped
        )

    def authenticate(self, username: str, password: bytes) -> ContainerRights | None:
        """Return the rights of a container at the broker; None for a wrong name or password."""
        container_id = username.removeprefix(LOGIN_PREFIX)
        deployed = self._deployments.container(container_id)
        if deployed is None or container_id == username:
            return None
        version = deployed.supervisor.rights_version(password)
        if version is None:
            return None
        mqtt = version.manifest.mqtt
        # what answers its requests, and its own answers, need no word in the manifest
        subscribe = (*mqtt.subscribe, response_topic(container_id))
        return ContainerRights(container_id, subscribe, (*mqtt.publish, RESPONSES))

    def _deleted(self, container_id: str) -> None:
        for listener in self._on_deleted:
            listener(f"{LOGIN_PREFIX}{container_id}")

    def _changed(self) -> None:
        for listener in self._on_change:
            listener()


def _status(deployed: Deployed) -> ContainerStatus:
    stored, supervisor = deployed.stored, deployed.supervisor
    counts, version = supervisor.counts, supervisor.version
    return ContainerStatus(
        id=stored.container_id,
        name=stored.name,
        image=version.manifest.image,
        state=supervisor.state.value,
        path=version.base,
        expose=version.manifest.http.expose,
        error=supervisor.error,
        started_at=supervisor.started_at,
        handled=counts.handled,
        failed=counts.failed,
        dropped=counts.dropped,
        restarts=supervisor.restarts,
        last_end=supervisor.last_end.reason,
        last_end_at=supervisor.last_end.at,
    )
