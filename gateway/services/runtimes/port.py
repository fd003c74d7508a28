"""Defines the port that a runtime implements; Python is one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from gateway.services.images.manifest import Manifest
from microservice.control import Counts
from microservice.info import Info
from microservice.isolation.findings import Isolation
from microservice.telemetry.samples import MetricSample
from settings.secret import Secret

LOGIN_PREFIX = "container:"  # before the container id, in the broker's user names


class ProcessError(Exception):
    """A process did not carry out a step; the message is the reason alone."""


@dataclass(frozen=True, slots=True)
class Version:
    """One state of a container's code and configuration."""

    image_id: str
    digest: str
    runtime: str
    code: Path
    manifest: Manifest
    base: str = ""  # with the client id: /api/climate/v1; "" when it answers no HTTP
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    number: int = field(default=0, compare=False)  # in the container's history
    good: bool = field(default=False, compare=False)  # it ran for the probation time

    def as_number(self, number: int, *, good: bool = False) -> "Version":
        """Return the same version with a number in the container's history."""
        return replace(self, number=number, good=good)


@dataclass(frozen=True, slots=True)
class Start:
    """The arguments of starting one process."""

    version: Version
    info: Info
    directory: Path  # the container's own: cwd, files, log
    http_socket: Path  # the address of the process's HTTP server
    broker_socket: Path
    password: Secret
    stale: tuple[str, ...]  # filters of the stored session
    settings: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    gateway_socket: Path | None = None  # on which the process is its container (egress/)


class Process(Protocol):
    """One running process of a container."""

    http_socket: Path
    password: Secret
    subscribe: tuple[str, ...]  # the topic filters it wants; known when prepared
    counts: Counts
    samples: tuple[MetricSample, ...]  # of the metrics of its service
    isolation: Isolation | None  # the findings of its probe; None before
    ended: str  # the reason of its end; "" while it runs

    async def prepared(self) -> None:
        """Return when the code is loaded and HTTP is served; ProcessError if it cannot be."""

    async def go(self) -> None:
        """Let it join the broker; return when its subscriptions are acknowledged."""

    async def pause(self) -> None:
        """Make it leave the broker, its session kept."""

    def change_settings(self, settings: Mapping[str, Any]) -> None:
        """Tell it its new settings."""

    def retire(self) -> None:
        """Tell it that another process has taken over: it answers its requests, and no more."""

    async def stop(self) -> None:
        """End it: gently, then by force. Returns when it is gone; never raises."""

    async def responds(self, within_s: float) -> bool:
        """Return whether it answers a control message within so long."""

    def explain_wait(self) -> str:
        """Return its last step, with the end of its output."""


class Runtime(Protocol):
    """Starts processes of one language."""

    name: str

    async def start(self, start: Start, on_end: Callable[[], None]) -> Process:
        """Return a process that is being prepared; ProcessError if there can be none."""

    def close(self) -> None:
        """Release the runtime's own resources; no process may be left."""
