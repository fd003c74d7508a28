"""A runtime whose processes are objects: scripted, and without any process of the system."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gateway.services.configuration.values import ValueStore
from gateway.services.images.manifest import parse_manifest
from gateway.services.limits import ServiceLimits
from gateway.services.runtimes.port import ProcessError, Start, Version
from gateway.services.supervisor import ServiceContext
from microservice.control import Counts, Measured
from microservice.isolation.findings import Isolation  # noqa: TC001  # an annotation

LIMITS = ServiceLimits(ready_s=0.5, respond_s=0.1, stop_s=0.2, drain_s=0.5, probation_s=0.3)


class FakeProcess:
    """A process that does at once what it is asked, unless a test says otherwise."""

    def __init__(self, runtime: "FakeRuntime", start: Start, on_end: Callable[[], None]) -> None:
        self.number = len(runtime.processes)
        self.start = start
        self.http_socket: Path = start.http_socket
        self.password = start.password
        self.subscribe = runtime.subscribe or start.version.manifest.mqtt.subscribe
        self.counts = Counts()
        self.samples = Measured().samples
        self.settings: list[Mapping[str, Any]] = []  # all settings that it was given while it ran
        self.isolation: Isolation | None = None
        self.ended = ""
        self.answers = True
        self._runtime, self._on_end = runtime, on_end

    def end(self, why: str) -> None:
        """End by itself, as a crash does."""
        self.ended = why
        self._on_end()

    async def prepared(self) -> None:
        await self._step("prepared")

    async def go(self) -> None:
        await self._step("go")

    async def pause(self) -> None:
        await self._step("pause")

    def change_settings(self, settings: Mapping[str, Any]) -> None:
        self.settings.append(settings)

    def retire(self) -> None:
        self._runtime.events.append(f"retire {self.number}")

    async def stop(self) -> None:
        self._runtime.events.append(f"stop {self.number}")

    async def responds(self, within_s: float) -> bool:
        if not self.answers:
            await asyncio.sleep(within_s)
        return self.answers

    def explain_wait(self) -> str:
        return "it was loading code"

    async def _step(self, step: str) -> None:
        event = f"{step} {self.number}"
        self._runtime.events.append(event)
        if event in self._runtime.hangs:
            await asyncio.get_running_loop().create_future()
        why = self._runtime.failures.get(event) or self._runtime.failures.get(
            f"{step} {self.start.version.digest} {self.start.info.container_id}"
        )
        if why:
            raise ProcessError(why)


class FakeRuntime:
    """Starts fake processes.

    events holds every step in order, "go 1" for the second process; failures and hangs say which
    steps fail or never end.
    """

    name = "python"

    def __init__(self) -> None:
        self.processes: list[FakeProcess] = []
        self.events: list[str] = []
        self.failures: dict[str, str] = {}
        self.hangs: set[str] = set()
        self.subscribe: tuple[str, ...] = ()  # of processes, if not that of their manifest

    async def start(self, start: Start, on_end: Callable[[], None]) -> FakeProcess:
        made = FakeProcess(self, start, on_end)
        self.processes.append(made)
        return made

    def close(self) -> None:
        """Nothing is held."""

    def take_events(self) -> list[str]:
        """Return, once, the steps so far."""
        taken, self.events = self.events, []
        return taken


def make_context(
    runtime: FakeRuntime,
    folder: Path,
    on_deleted: Callable[[str], None] = lambda _: None,
    limits: ServiceLimits = LIMITS,
) -> ServiceContext:
    return ServiceContext(
        runtimes={runtime.name: runtime},
        limits=limits,
        sockets=folder,
        broker_socket=folder / "broker.sock",
        values=ValueStore(folder / "containers"),
        clock=lambda: 1_000.0,
        on_change=lambda: None,
        on_deleted=on_deleted,
    )


def make_version(digest: str = "one", toml: str = "") -> Version:
    manifest = parse_manifest(f'name = "probe"\n{toml}')
    return Version("api-probe-v1", digest, "python", Path("code"), manifest)
