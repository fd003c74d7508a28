"""Keeps one container running: starts, replaces, restarts and ends its processes.

A new version is started beside the old one. The broker session is handed over: the old process
leaves the broker, the new one takes the same session, so no message is lost or handled by both.
HTTP goes to the old one until the new one is ready. If it never is, the old one goes on.
"""

import asyncio
import contextlib
import hmac
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import astuple, dataclass, replace
from enum import Enum, auto
from pathlib import Path
from typing import Any

from broker.messages.topics import covers
from gateway.services.containers import Container, ContainerState
from gateway.services.errors import DeployError, ServicesError
from gateway.services.images.declared import resolve
from gateway.services.limits import ServiceLimits
from gateway.services.runtimes.port import Process, ProcessError, Runtime, Start, Version
from gateway.services.values import ValueStore
from microservice.control import Counts
from microservice.service import Info
from microservice.telemetry.samples import MetricSample
from settings.secret import Secret

logger = logging.getLogger(__name__)

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


@dataclass(frozen=True, slots=True)
class LastEnd:
    """The reason and time of the last end that was not requested."""

    reason: str = ""
    at: float = 0.0  # unix seconds


class _End(Enum):
    """A request to end, in place of a version to run."""

    STOP = auto()  # it can be started again
    CLOSE = auto()


@dataclass(slots=True)
class _Request:
    wanted: Version | _End
    done: asyncio.Future[None]


class Supervisor:
    """One container: its state, its process, its version."""

    def __init__(
        self,
        info: Info,
        directory: Path,
        context: ServiceContext,
        version: Version,
        on_switch: Callable[[Version, tuple[str, ...]], Awaitable[None]],
    ) -> None:
        self.info, self.version = info, version
        self.started_at = 0.0  # unix seconds
        self.restarts, self.last_end = 0, LastEnd()
        self.process: Process | None = None
        self._directory, self._context, self._on_switch = directory, context, on_switch
        self._machine = Container(self._now())
        self._machine.deadline = None  # until resume() or deploy()
        self._requests: deque[_Request] = deque()
        self._wake = asyncio.Event()
        self._counted = Counts()
        self._filters: tuple[str, ...] = ()  # the subscriptions of the stored session
        self._starting: tuple[Secret, Version] | None = None
        self._retiring: set[asyncio.Task[None]] = set()
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
    def counts(self) -> Counts:
        """The counters summed over all its processes."""
        return _sum(self._counted, self.process.counts if self.process else Counts())

    def resume(self, filters: tuple[str, ...]) -> None:
        """Start it as it was before the gateway stopped."""
        self._filters = filters
        self._machine.start(self._now())
        self._wake.set()

    def stay_stopped(self, filters: tuple[str, ...]) -> None:
        """Stay stopped, as it was before the gateway stopped."""
        self._filters = filters
        self._machine.stop()
        self._machine.stopped()

    async def responds(self, within_s: float) -> bool:
        """Return whether its process answers a control message within so long."""
        return self.process is not None and await self.process.responds(within_s)

    async def deploy(self, version: Version) -> None:
        """Run a version; DeployError when it does not become ready (the one before goes on)."""
        await self._request(version)

    async def stop(self) -> None:
        """End its process; deploy() starts one again."""
        await self._request(_End.STOP)

    async def close(self) -> None:
        """End its process; the supervisor cannot be used again."""
        if not self._task.done():
            await self._request(_End.CLOSE)
        await self._task

    def change_settings(self) -> None:
        """Tell its process the settings that it has now; ServicesError when one has no value."""
        if self.process is not None:
            self.process.change_settings(self._settings(self.version))

    def rights_version(self, password: bytes) -> Version | None:
        """Return the version whose process logs in with this password."""
        candidates = [self._starting] if self._starting else []
        if self.process is not None:
            candidates.append((self.process.password, self.version))
        for secret, version in candidates:
            if hmac.compare_digest(secret.reveal().encode(), password):
                return version
        return None

    async def _request(self, wanted: Version | _End) -> None:
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
            for request in self._requests:
                request.done.set_exception(
                    DeployError(f"cannot start {self._name}: it was deleted")
                )

    async def _step(self) -> None:
        if self.process is not None and self.process.ended:
            self._note_end(self.process)
        if self._requests:
            await self._carry_out(self._requests.popleft())
        elif self._machine.is_due(self._now()):
            await self._restart()
        else:
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._machine.deadline):
                    await self._wake.wait()

    async def _carry_out(self, request: _Request) -> None:
        try:
            if isinstance(request.wanted, Version):
                await self._deploy(request.wanted)
            else:
                await self._end()
                self._closed = request.wanted is _End.CLOSE
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
                self._context.on_change()
            else:
                logger.warning("%s runs on as it was: the new version fails: %s", self._name, exc)
            raise DeployError(f"cannot start {self._name}: {exc}") from exc

    async def _restart(self) -> None:
        try:
            await self._switch(self.version, None)
        except ProcessError as exc:
            before = self.state
            self._machine.failed(str(exc), self._now())
            level = (
                logging.DEBUG if before is self.state is ContainerState.FAILED else logging.WARNING
            )
            logger.log(level, "cannot start %s: %s", self._name, exc)
            self._context.on_change()
        except ServicesError as exc:
            logger.error("%s runs, but is not recorded: %s", self._name, exc)  # noqa: TRY400  # the reason is all there is

    async def _switch(self, version: Version, old: Process | None) -> None:
        """Let a new process of the version take over; ProcessError leaves all as it was."""
        answers = old is not None and await old.responds(self._context.limits.respond_s)
        new = await self._start(version)
        paused: Process | None = None
        limit_s = version.manifest.limits.start_s or self._context.limits.ready_s
        try:
            async with asyncio.timeout(limit_s):
                await new.prepared()
                _check_rights(version, new.subscribe)
                if old is not None and answers:  # else the broker ends its connection
                    paused = old
                    await self._pause(old)
                await new.go()
        except (ProcessError, TimeoutError) as exc:
            why = str(exc) or (
                f"it was not ready within {limit_s:g} s ([limits] start_s): {new.explain_wait()}"
            )
            await new.stop()
            await self._resume_old(paused)
            raise ProcessError(why) from exc
        finally:
            self._starting = None
        try:
            await self._take_over(version, new)
        finally:
            if old is not None:
                self._retire(old)

    async def _start(self, version: Version) -> Process:
        runtime = self._context.runtimes.get(version.runtime)
        if runtime is None:
            raise ProcessError(f"this gateway has no runtime for {version.runtime}")
        try:
            settings = self._settings(version)
        except ServicesError as exc:
            raise ProcessError(str(exc)) from exc
        names = version.manifest.secrets.names
        values = self._context.values.get(self._name)
        password = Secret(secrets.token_urlsafe(24))
        self._starting = password, version
        return await runtime.start(
            Start(
                version=version,
                info=replace(self.info, api_root=version.base),
                directory=self._directory,
                http_socket=self._context.sockets / f"{secrets.token_hex(6)}.sock",
                broker_socket=self._context.broker_socket,
                password=password,
                stale=self._filters,
                settings=settings,
                secrets={n: secret for n, secret in values.secrets.items() if n in names},
            ),
            self._wake.set,
        )

    def _settings(self, version: Version) -> dict[str, Any]:
        given = self._context.values.get(self._name).settings
        try:
            return resolve(version.manifest.settings, given)
        except ValueError as exc:
            raise ServicesError(str(exc)) from exc

    async def _pause(self, old: Process) -> None:
        try:
            async with asyncio.timeout(self._context.limits.stop_s):
                await old.pause()
        except (ProcessError, TimeoutError):
            # the broker gives the session to the last process that connects
            logger.warning("%s: the running version does not answer", self._name)

    async def _resume_old(self, old: Process | None) -> None:
        """Let the old process go on, if it was paused."""
        if old is None or old.ended:
            return
        try:
            async with asyncio.timeout(self._context.limits.ready_s):
                await old.go()
        except (ProcessError, TimeoutError) as exc:
            logger.warning("%s: the running version does not come back: %s", self._name, exc)
            await old.stop()

    async def _take_over(self, version: Version, new: Process) -> None:
        self.process, self.version = new, version
        self.started_at = self._context.clock()
        self._filters = new.subscribe
        self._machine.ready(self._now())
        with contextlib.suppress(ServicesError):  # they may have changed while it started
            self.change_settings()
        logger.info("%s started (%s)", self._name, version.manifest.image)
        try:
            await self._on_switch(version, new.subscribe)
        finally:
            self._context.on_change()

    def _retire(self, old: Process) -> None:
        async def retire() -> None:
            await old.stop()
            self._counted = _sum(self._counted, old.counts)

        task = asyncio.create_task(retire())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def _note_end(self, process: Process) -> None:
        self._counted = _sum(self._counted, process.counts)
        self.process = None
        self.last_end = LastEnd(process.ended, self._context.clock())
        self.restarts += 1
        self._machine.failed(process.ended, self._now())
        logger.warning("%s ended: %s", self._name, process.ended)
        self._context.on_change()

    async def _end(self) -> None:
        self._machine.stop()
        if self.process is not None:
            await self.process.stop()
            self._counted = _sum(self._counted, self.process.counts)
            self.process = None
        await asyncio.gather(*self._retiring)
        self._machine.stopped()
        self._context.on_change()

    @property
    def _name(self) -> str:
        return self.info.container_id

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _check_rights(version: Version, wanted: tuple[str, ...]) -> None:
    allowed = version.manifest.mqtt.subscribe
    for topic_filter in wanted:
        if not any(covers(one, topic_filter) for one in allowed):
            raise ProcessError(f"{topic_filter} is not in [mqtt] subscribe of microservice.toml")


def _sum(one: Counts, two: Counts) -> Counts:
    pairs = zip(astuple(one), astuple(two), strict=True)
    return Counts(*(first + second for first, second in pairs))
