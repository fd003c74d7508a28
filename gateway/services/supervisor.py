"""Keeps one container running: starts, replaces, restarts and ends its processes.

A new version is started beside the old one (switching/handover.py). HTTP goes to the old one until
the new one is ready; then the old one answers the requests that it has, and ends. A version that
ends within the probation time is left for the one before it, if there is one.
"""

import asyncio
import contextlib
import hmac
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from pathlib import Path

from gateway.services.configuration.values import ValueStore
from gateway.services.containers import Container, ContainerState
from gateway.services.errors import DeployError, ServicesError
from gateway.services.limits import ServiceLimits
from gateway.services.runtimes.port import Process, ProcessError, Runtime, Version
from gateway.services.switching.handover import Handover, StartPlaces
from gateway.services.switching.retiring import RequestTracker, Retirement, add_counts
from gateway.services.switching.start_slots import StartSlots
from microservice.control import Counts
from microservice.info import Info
from microservice.isolation.findings import Isolation
from microservice.telemetry.samples import MetricSample

logger = logging.getLogger(__name__)

STOP_DRAIN_S = 10.0  # for requests of a container that a person stops

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """The facts about the node that microservices may see."""

    node_id: str
    account_id: Callable[[], str]


@dataclass(frozen=True, slots=True)
class ServiceContext:
    """The parts that all containers of a gateway share."""

    runtimes: Mapping[str, Runtime]
    limits: ServiceLimits
    sockets: Path
    broker_socket: Path
    values: ValueStore
    clock: Clock
    on_change: Callable[[], None]
    on_deleted: Callable[[str], None]  # with the container id
    start_slots: StartSlots = field(default_factory=lambda: StartSlots(ServiceLimits().starts))


@dataclass(frozen=True, slots=True)
class VersionCallbacks:
    """The functions that record the fate of versions.

    Attributes:
        switched: a version took over, with its topic filters.
        crashed: a version ended within its probation; returns the one to go back to, if any.
        proven: a version ran for the probation time.
    """

    switched: Callable[[Version, tuple[str, ...]], Awaitable[None]]
    crashed: Callable[[Version, str], Awaitable[Version | None]]
    proven: Callable[[Version], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class LastEnd:
    """The reason and time of the last end that was not requested."""

    reason: str = ""
    at: float = 0.0  # unix seconds


class _End(Enum):
    """A request to end, in place of a version to run."""

    STOP = auto()  # it can be started again
    CLOSE = auto()


@dataclass(frozen=True, slots=True)
class _Fault:
    """A reason to end the process, as if it had ended by itself."""

    why: str


@dataclass(slots=True)
class _Request:
    wanted: Version | _End | _Fault
    done: asyncio.Future[None]


class Supervisor:
    """One container: its state, its process, its version."""

    def __init__(
        self,
        info: Info,
        directory: Path,
        context: ServiceContext,
        version: Version,
        callbacks: VersionCallbacks,
    ) -> None:
        self.info, self.version = info, version
        self.started_at = 0.0  # unix seconds
        self.restarts, self.last_end = 0, LastEnd()
        self.process: Process | None = None
        self._context, self._callbacks = context, callbacks
        self._machine = Container(self._now())
        self._machine.deadline = None  # until resume() or deploy()
        self._requests: deque[_Request] = deque()
        self._wake, self._settled = asyncio.Event(), asyncio.Event()
        self._filters: tuple[str, ...] = ()  # the subscriptions of the stored session
        self._answering = RequestTracker()
        self._retirement = Retirement(info.container_id, self._answering)
        places = StartPlaces(directory, context.sockets, context.broker_socket)
        runs = context.values, context.runtimes, context.limits
        self._handover = Handover(info, places, *runs, self._wake.set)
        self._probation_end: float | None = None
        self._resuming = False  # the gateway starts, and all containers with it
        self._closed = False
        self._task = asyncio.create_task(self._run(), name=f"container {info.container_id}")

    @property
    def state(self) -> ContainerState:
        """The state of the container."""
        return self._machine.state

    @property
    def error(self) -> str:
        """The reason why it is not started; "" when it is."""
        return self._machine.error

    @property
    def samples(self) -> tuple[MetricSample, ...]:
        """The metrics of its process."""
        return self.process.samples if self.process else ()

    @property
    def isolation(self) -> Isolation | None:
        """The findings of the probe in its process; None while there is no process."""
        return self.process.isolation if self.process else None

    @property
    def next_try(self) -> float:
        """The unix time of the next start after a failure; 0 when none is due."""
        deadline = self._machine.deadline
        if deadline is None or not self._machine.has_failed:
            return 0.0
        return self._context.clock() + max(0.0, deadline - self._now())

    @property
    def counts(self) -> Counts:
        """The counters summed over all its processes."""
        counted = self._retirement.counted
        return add_counts(counted, self.process.counts) if self.process else counted

    def resume(self, filters: tuple[str, ...]) -> None:
        """Start it as it was before the gateway stopped."""
        self._filters, self._resuming = filters, True
        self._machine.start(self._now())
        self._wake.set()

    def stay_stopped(self, filters: tuple[str, ...]) -> None:
        """Stay stopped, as it was before the gateway stopped."""
        self._filters = filters
        self._machine.stop()
        self._machine.stopped()
        self._settled.set()

    def stay_failed(self, why: str) -> None:
        """Stay failed until it is deployed: there is nothing to run."""
        self._machine.failed(why, self._now())
        self._machine.deadline = None
        self._settled.set()

    async def settled(self) -> None:
        """Return when its first start has succeeded or failed, or it is stopped."""
        await self._settled.wait()

    async def responds(self, within_s: float) -> bool:
        """Return whether its process answers a control message within so long."""
        return self.process is not None and await self.process.responds(within_s)

    def answering(self, process: Process) -> contextlib.AbstractContextManager[None]:
        """Return a context of one request; the process does not retire before its end."""
        return self._answering.track(process)

    async def deploy(self, version: Version) -> None:
        """Run a version; DeployError when it does not become ready (the one before goes on)."""
        await self._request(version)

    async def stop(self) -> None:
        """End its process; deploy() starts one again."""
        await self._request(_End.STOP)

    async def end_for(self, why: str) -> None:
        """End its process for a fault that the gateway found; it is started again later."""
        await self._request(_Fault(why))

    async def close(self) -> None:
        """End its process; the supervisor cannot be used again."""
        if not self._task.done():
            await self._request(_End.CLOSE)
        await self._task

    def change_settings(self) -> None:
        """Tell its process the settings that it has now; ServicesError when one has no value."""
        if self.process is not None:
            values = self._context.values
            self.process.change_settings(
                values.settings_of(self.info.container_id, self.version.manifest.declared)
            )

    def rights_version(self, password: bytes) -> Version | None:
        """Return the version whose process logs in with this password."""
        process = self.process
        if process is not None:
            secret = process.password.reveal().encode()
            if hmac.compare_digest(secret, password):
                return self.version
        return self._handover.starting_version(password)

    async def _request(self, wanted: Version | _End | _Fault) -> None:
        if self._task.done():
            raise DeployError(f"cannot start {self._name}: it was deleted")
        request = _Request(wanted, asyncio.get_running_loop().create_future())
        self._requests.append(request)
        self._wake.set()
        await asyncio.shield(request.done)

    async def _run(self) -> None:
        try:
            while not self._closed:
                await self._step()
        finally:
            self._settled.set()
            for request in self._requests:
                request.done.set_exception(
                    DeployError(f"cannot start {self._name}: it was deleted")
                )

    async def _step(self) -> None:
        if self.process is not None and self.process.ended:
            await self._handle_end(self.process, self.process.ended)
        if self._requests:
            await self._carry_out(self._requests.popleft())
        elif self._probation_end is not None and self._now() >= self._probation_end:
            await self._prove()
        elif self._machine.is_due(self._now()):
            await self._restart()
        else:
            self._wake.clear()
            times = [at for at in (self._machine.deadline, self._probation_end) if at is not None]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(min(times, default=None)):
                    await self._wake.wait()

    async def _carry_out(self, request: _Request) -> None:
        try:
            if isinstance(request.wanted, Version):
                await self._deploy(request.wanted)
            elif isinstance(request.wanted, _Fault):
                if self.process is not None:
                    await self.process.stop()
                    await self._handle_end(self.process, request.wanted.why)
            else:
                await self._end(request.wanted)
        except ServicesError as exc:
            request.done.set_exception(exc)
            request.done.exception()  # its caller may be gone
        else:
            request.done.set_result(None)

    async def _deploy(self, version: Version) -> None:
        old = self.process
        if old is None:
            self._machine.start(self._now())
        try:
            await self._switch(version, old)
        except ProcessError as exc:
            if old is None:
                self._machine.failed(str(exc), self._now())
                self._settled.set()
                self._context.on_change()
            else:
                logger.warning("%s runs on as it was: the new version fails: %s", self._name, exc)
            raise DeployError(f"cannot start {self._name}: {exc}") from exc
        self._machine.forget_failures()

    async def _restart(self) -> None:
        slot = self._context.start_slots.hold() if self._resuming else contextlib.nullcontext()
        self._resuming = False
        try:
            async with slot:
                await self._switch(self.version, None)
        except ProcessError as exc:
            before = self.state
            self._machine.failed(str(exc), self._now())
            self._settled.set()
            level = (
                logging.DEBUG if before is self.state is ContainerState.FAILED else logging.WARNING
            )
            logger.log(level, "cannot start %s: %s", self._name, exc)
            self._context.on_change()
        except ServicesError as exc:
            logger.error("%s runs, but is not recorded: %s", self._name, exc)  # noqa: TRY400  # the reason is all there is

    async def _switch(self, version: Version, old: Process | None) -> None:
        """Let a new process of the version take over; ProcessError leaves all as it was."""
        drain_s = self._drain_s
        new, old_answers = await self._handover.start(version, old, self._filters, drain_s)
        try:
            await self._take_over(version, new)
        finally:
            if old is not None:
                self._retirement.replace(old, drain_s if old_answers else 0)

    async def _take_over(self, version: Version, new: Process) -> None:
        self.process, self.version = new, version
        self.started_at = self._context.clock()
        self._filters = new.subscribe
        self._machine.ready(self._now())
        self._settled.set()
        with contextlib.suppress(ServicesError):  # they may have changed while it started
            self.change_settings()
        probation_s = self._context.limits.probation_s
        self._probation_end = None if version.good else self._now() + probation_s
        logger.info("%s started (%s)", self._name, version.manifest.image)
        try:
            await self._callbacks.switched(version, new.subscribe)
        finally:
            self._context.on_change()

    async def _prove(self) -> None:
        self._probation_end = None
        self.version = replace(self.version, good=True)
        await self._callbacks.proven(self.version)

    async def _handle_end(self, process: Process, why: str) -> None:
        self._retirement.count(process.counts)
        self.process = None
        self.last_end = LastEnd(why, self._context.clock())
        self.restarts += 1
        self._machine.failed(why, self._now())
        logger.warning("%s ended: %s", self._name, why)
        on_probation, self._probation_end = self._probation_end is not None, None
        if on_probation:
            former = await self._callbacks.crashed(self.version, why)
            if former is not None:
                logger.warning("%s goes back to %s", self._name, former.manifest.image)
                self.version = former
                self._machine.start(self._now())
        self._context.on_change()

    async def _end(self, how: _End) -> None:
        self._machine.stop()
        process, self.process, self._probation_end = self.process, None, None
        if process is not None:
            waits = how is _End.STOP and await process.responds(self._context.limits.respond_s)
            self._retirement.add(process, min(self._drain_s, STOP_DRAIN_S) if waits else 0)
        await self._retirement.end_all(hurry=how is _End.CLOSE)
        self._machine.stopped()
        self._settled.set()
        self._closed = how is _End.CLOSE
        self._context.on_change()

    @property
    def _drain_s(self) -> float:
        """The time that the process has for the requests and handlers that it has begun."""
        return self.version.manifest.limits.stop_s or self._context.limits.drain_s

    @property
    def _name(self) -> str:
        return self.info.container_id

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
