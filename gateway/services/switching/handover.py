"""Starts a process beside the one that runs, and hands the broker session over to it.

The order of steps loses no message and lets none be handled by both: the new process loads its
code, the old one finishes its handlers and leaves the broker, the new one takes the same session.
The old one publishes nothing after that. If the new one never becomes ready, the old one joins the
broker again.
"""

import asyncio
import hmac
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from broker.messages.topics import covers
from gateway.services.configuration.values import ValueStore
from gateway.services.errors import ServicesError
from gateway.services.limits import ServiceLimits
from gateway.services.runtimes.port import Process, ProcessError, Runtime, Start, Version
from microservice.info import Info
from settings.secret import Secret

logger = logging.getLogger(__name__)

PAUSE_EXTRA_S = 2.0  # for a process to leave the broker, after its handlers


@dataclass(frozen=True, slots=True)
class StartPlaces:
    """The folders and sockets that a process needs."""

    directory: Path  # the container's own
    sockets: Path
    broker_socket: Path


class Handover:
    """Starts the processes of one container."""

    def __init__(
        self,
        info: Info,
        places: StartPlaces,
        values: ValueStore,
        runtimes: Mapping[str, Runtime],
        limits: ServiceLimits,
        on_end: Callable[[], None],
    ) -> None:
        self._info, self._places, self._runtimes = info, places, runtimes
        self._values = values
        self._limits, self._on_end = limits, on_end
        self._starting: tuple[Secret, Version] | None = None

    def starting_version(self, password: bytes) -> Version | None:
        """Return the version of the process that is being started, if this is its password."""
        if self._starting is None:
            return None
        secret, version = self._starting
        return version if hmac.compare_digest(secret.reveal().encode(), password) else None

    async def start(
        self, version: Version, old: Process | None, filters: tuple[str, ...], drain_s: float
    ) -> tuple[Process, bool]:
        """Return a new process that has taken over, and whether the old one answered.

        A ProcessError leaves all as it was.

        Args:
            version: what it runs.
            old: the process that runs now.
            filters: the subscriptions of the stored session.
            drain_s: the time that handlers of the old process get to end.
        """
        answers = old is not None and await old.responds(self._limits.respond_s)
        new = await self._start(version, filters)
        paused: Process | None = None
        limit_s = version.manifest.limits.start_s or self._limits.ready_s
        try:
            async with asyncio.timeout(limit_s) as limit:
                await new.prepared()
                _check_rights(version, new.subscribe)
                left_s = (limit.when() or 0.0) - _now()
                if old is not None and answers:  # else the broker ends its connection
                    limit.reschedule(None)  # the old one's handlers are not the new one's delay
                    paused = old
                    await self._pause(old, drain_s)
                    limit.reschedule(_now() + left_s)
                await new.go()
        except (ProcessError, TimeoutError) as exc:
            why = str(exc) or (
                f"it was not ready within {limit_s:g} s ([limits] start_s): {new.explain_wait()}"
            )
            await new.stop()
            await self._resume(paused)
            raise ProcessError(why) from exc
        else:
            return new, answers
        finally:
            self._starting = None

    async def _start(self, version: Version, filters: tuple[str, ...]) -> Process:
        runtime = self._runtimes.get(version.runtime)
        if runtime is None:
            raise ProcessError(f"this gateway has no runtime for {version.runtime}")
        container_id, declared = self._info.container_id, version.manifest.declared
        try:
            settings = self._values.settings_of(container_id, declared)
        except ServicesError as exc:
            raise ProcessError(str(exc)) from exc
        password = Secret(secrets.token_urlsafe(24))
        self._starting = password, version
        return await runtime.start(
            Start(
                version=version,
                info=replace(self._info, api_root=version.base),
                directory=self._places.directory,
                http_socket=self._places.sockets / f"{secrets.token_hex(6)}.sock",
                broker_socket=self._places.broker_socket,
                password=password,
                stale=filters,
                settings=settings,
                secrets=self._values.secrets_of(container_id, declared),
            ),
            self._on_end,
        )

    async def _pause(self, old: Process, drain_s: float) -> None:
        try:
            async with asyncio.timeout(drain_s + PAUSE_EXTRA_S):
                await old.pause()
        except (ProcessError, TimeoutError):
            # the broker gives the session to the last process that connects
            logger.warning("%s: the running version does not answer", self._info.container_id)

    async def _resume(self, old: Process | None) -> None:
        """Let the old process go on, if it was paused."""
        if old is None or old.ended:
            return
        try:
            async with asyncio.timeout(self._limits.ready_s):
                await old.go()
        except (ProcessError, TimeoutError) as exc:
            name = self._info.container_id
            logger.warning("%s: the running version does not come back: %s", name, exc)
            await old.stop()


def _check_rights(version: Version, wanted: tuple[str, ...]) -> None:
    allowed = version.manifest.mqtt.subscribe
    for topic_filter in wanted:
        if not any(covers(one, topic_filter) for one in allowed):
            raise ProcessError(f"{topic_filter} is not in [mqtt] subscribe of microservice.toml")


def _now() -> float:
    return asyncio.get_running_loop().time()
