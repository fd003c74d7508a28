"""Opens one socket of the gateway for each process of a container, and serves it."""

import asyncio
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.services.egress.app import ContainerCaller, EgressApp, FindService
from gateway.services.egress.dialer import Dialer, EgressCounters, RefusalLog, is_own_address
from gateway.services.egress.ports import EgressTargets
from gateway.services.egress.resolver import NameResolver
from gateway.services.network.admission import Admission
from gateway.services.network.rules import NetworkSettings
from gateway.services.runtimes.port import Process, ProcessError, Runtime, Start
from web import HttpLimits, HttpServer, ListenError, listen_unix

CONNECTIONS = 64  # of one process; more of them evict idle ones, or are refused


@dataclass(frozen=True, slots=True)
class _Container:
    """The parts that all processes of a container share."""

    counters: EgressCounters
    refusals: RefusalLog
    resolver: NameResolver


@dataclass(frozen=True, slots=True)
class _Open:
    """A socket that is served."""

    listener: socket.socket
    caller: ContainerCaller


class GatewaySockets:
    """The sockets of all processes of containers.

    Args:
        folder: for the sockets.
        containers: how many containers there may be.
        find_service: returns the route of a microservice of this node by its type.
        make_resolver: makes the resolver of a container.
    """

    def __init__(
        self,
        folder: Path,
        containers: int,
        find_service: FindService,
        make_resolver: Callable[[], NameResolver] = NameResolver,
    ) -> None:
        self._folder = folder
        self._targets: EgressTargets | None = None
        self._open: dict[str, _Open] = {}
        self._callers: dict[str, ContainerCaller] = {}
        self._containers: dict[str, _Container] = {}  # by id
        self._make_resolver = make_resolver
        # twice: a container that is replaced has two processes
        limits = replace(
            HttpLimits.of(2 * CONNECTIONS * containers, stop_s=1),
            connections_per_address=CONNECTIONS,
            reserved=0,
        )
        app = EgressApp(self._callers, lambda: self._targets, find_service)
        self._server = HttpServer(app, limits, by_listener=True)
        self._serving: asyncio.Task[None] | None = None

    def lead_to(self, targets: EgressTargets | None) -> None:
        """Serve requests with these targets from now on."""
        self._targets = targets

    def counters(self) -> dict[str, EgressCounters]:
        """Return the counters of traffic to the outside, by container."""
        return {name: each.counters for name, each in self._containers.items()}

    async def open(self, container_id: str, network: NetworkSettings) -> Path:
        """Return the path of a new socket, on which a process is this container.

        Only this user can connect; a runtime that gives the process another user changes that.

        Raises:
            OSError: there can be none.
        """
        if self._serving is None:
            self._serving = asyncio.create_task(
                self._server.run_on_added(), name="sockets of containers"
            )
        path = self._folder / f"{secrets.token_hex(6)}.gw"
        listener = listen_unix(path)
        shared = self._containers.get(container_id)
        if shared is None:
            shared = _Container(EgressCounters(), RefusalLog(container_id), self._make_resolver())
            self._containers[container_id] = shared
        admission = Admission(network.rules(), is_own_address, self._closed_ports)
        dialer = Dialer(admission, shared.resolver, shared.counters, shared.refusals)
        caller = ContainerCaller(container_id, str(path), dialer, shared.counters)
        self._open[str(path)] = _Open(listener, caller)
        self._callers[str(path)] = caller
        await self._server.add_listener(listener)
        return path

    def close(self, path: Path) -> None:
        """Stop to serve a socket; harmless when it is closed."""
        found = self._open.pop(str(path), None)
        self._callers.pop(str(path), None)
        if found is not None:
            self._server.remove_listener(found.listener)
            found.listener.close()
            path.unlink(missing_ok=True)

    def forget(self, container_id: str) -> None:
        """Forget what a deleted container counted."""
        self._containers.pop(container_id, None)

    async def stop(self) -> None:
        """Close all sockets."""
        for path in list(self._open):
            self.close(Path(path))
        if self._serving is not None:
            self._server.stop()
            await self._serving

    def _closed_ports(self) -> frozenset[int]:
        return self._targets.closed_ports() if self._targets is not None else frozenset()


class ConnectedRuntime:
    """A runtime whose processes have a socket of the gateway, from their start to their end."""

    def __init__(self, runtime: Runtime, sockets: GatewaySockets) -> None:
        self.name = runtime.name
        self._runtime, self._sockets = runtime, sockets

    async def start(self, start: Start, on_end: Callable[[], None]) -> Process:
        """Return a process that is being prepared; ProcessError if there can be none."""
        network = start.version.manifest.network
        try:
            path = await self._sockets.open(start.info.container_id, network)
        except (OSError, ListenError) as exc:
            raise ProcessError(f"it has no socket of the gateway: {exc}") from exc

        def ended() -> None:
            self._sockets.close(path)
            on_end()

        try:
            return await self._runtime.start(replace(start, gateway_socket=path), ended)
        except BaseException:
            self._sockets.close(path)
            raise

    def close(self) -> None:
        """Release the runtime's own resources; no process may be left."""
        self._runtime.close()
