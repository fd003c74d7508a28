"""Encodes the control messages between gateway and process: lines of JSON on an inherited socket.

The gateway's first line is the launch; then commands. The process answers with reports:

    gateway                         process
    launch                  →
                            ←       isolation  once, before the code is loaded: what a probe found
                            ←       prepared   the code is loaded, HTTP is served
    go                      →                  connect, subscribe, handle
                            ←       ready
                            ←       counts     at intervals, when they change
                            ←       measured   likewise: what the service measures
    settings                →                  new values, at any time after the launch
                            ←       doing      the step that the gateway waits for
    ping                    →                  at any time after the launch
                            ←       alive      at once: the event loop runs
    pause                   →                  finish running handlers, disconnect
                            ←       paused     (then go again, retire, or stop)
    retire                  →                  another process has taken over: publish nothing
    stop                    →                  finish, on_stop, exit
                            ←       failed     instead of any report; the process exits

A closed socket means stop, on both sides.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, TypeVar

from microservice.errors import ControlError
from microservice.info import Info
from microservice.isolation.findings import FINDINGS, Finding, Isolation, Level
from microservice.telemetry.samples import MetricSample, decode_samples, encode_samples

LINE_LIMIT_BYTES = 256 * 1024  # a launch carries the container's env
ERROR_LIMIT = 500  # characters; it is shown in one line
STEP_LIMIT = 80
PYTHON, JAVASCRIPT = "python", "js"  # of Launch.runtime
SETTINGS = "settings"
DETAIL_LIMIT = 200
COUNT_MAX = 2**63 - 1


class Command(StrEnum):
    """The commands that a gateway sends to a process."""

    GO = "go"
    PING = "ping"
    PAUSE = "pause"
    RETIRE = "retire"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class SettingsChange:
    """A command: the service has these settings from now on."""

    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Login:
    """The address and credentials by which the process reaches the broker."""

    socket: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Launch:
    """The first message to a process: its code, limits, settings and login."""

    code: str  # the folder with service.py or index.js
    http_fd: int  # a bound Unix socket
    info: Info
    runtime: str = PYTHON
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    login: Login | None = None  # None: microservice.toml allows no topic
    publish: tuple[str, ...] = ()  # the filters it allows
    stale: tuple[str, ...] = ()  # filters of the stored session that may be out of date
    gateway_socket: str = ""  # HTTP of this container to everything else; "": nothing
    has_proxy: bool = False  # HTTP_PROXY leads there: microservice.toml has [network]
    forward: Mapping[str, str] = field(default_factory=dict)  # names of local ports: HOST:PORT
    memory_mib: int = 128
    handler_s: float = 30.0
    stop_s: float = 5.0
    drain_s: float = 30.0  # for running handlers when another process takes over
    concurrency: int = 16
    queue_limit: int = 256
    store_mib: int = 16
    settings: Mapping[str, Any] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    retry_tries: int = 3
    retry_first_s: float = 1.0
    retry_max_s: float = 60.0
    echo: bool = False  # messages that the service publishes come back to it


@dataclass(frozen=True, slots=True)
class Prepared:
    """The code is loaded and HTTP is served; holds the topics of the service."""

    subscribe: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ready:
    """The broker has acknowledged the subscriptions."""


@dataclass(frozen=True, slots=True)
class Doing:
    """The process has begun a step before ready."""

    step: str


@dataclass(frozen=True, slots=True)
class Alive:
    """The event loop of the process runs."""


@dataclass(frozen=True, slots=True)
class Paused:
    """The process has disconnected; the broker keeps its session."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The process cannot continue."""

    error: str


@dataclass(frozen=True, slots=True)
class Counts:
    """The counters of a service since its start."""

    handled: int = 0  # messages and requests
    failed: int = 0  # messages and requests whose handler raised
    dropped: int = 0  # messages at QoS 0 that arrived too fast
    retried: int = 0  # further calls of a handler for the same message
    dead: int = 0  # messages that became dead letters
    overdue: int = 0  # handlers ended at their limit


@dataclass(frozen=True, slots=True)
class Measured:
    """The present values of all that a service measures."""

    samples: tuple[MetricSample, ...] = ()


Report = Prepared | Ready | Doing | Alive | Paused | Failed | Counts | Isolation | Measured
_REPORTS: dict[str, type[Report]] = {
    cls.__name__.lower(): cls
    for cls in (Prepared, Ready, Doing, Alive, Paused, Failed, Counts, Isolation, Measured)
}
_BARE: dict[type[Report], Report] = {Ready: Ready(), Alive: Alive(), Paused: Paused()}


def encode_launch(launch: Launch) -> bytes:
    """Return the first line to a process."""
    return _line(asdict(launch))


def decode_launch(line: bytes) -> Launch:
    """Return the launch in a line; ControlError when it is none."""
    values = _table(line)
    try:
        login = values["login"]
        return Launch(
            **values
            | {
                "info": Info(**values["info"]),
                "login": Login(**login) if login is not None else None,
                "publish": tuple(values["publish"]),
                "stale": tuple(values["stale"]),
            }
        )
    except (TypeError, KeyError) as exc:
        raise ControlError(f"cannot read launch: {exc}") from exc


def encode_command(command: Command | SettingsChange) -> bytes:
    """Return the line of a command."""
    if isinstance(command, SettingsChange):
        return _line({"do": SETTINGS, "values": dict(command.values)})
    return _line({"do": command.value})


def decode_command(line: bytes) -> Command | SettingsChange:
    """Return the command in a line; ControlError when it is none."""
    table = _table(line)
    if table.get("do") == SETTINGS:
        return SettingsChange(_of(table.get("values"), dict))
    try:
        return Command(str(table.get("do")))
    except ValueError as exc:
        raise ControlError(f"cannot read command: {exc}") from exc


def encode_report(report: Report) -> bytes:
    """Return the line of a report."""
    kind = type(report).__name__.lower()
    if isinstance(report, Measured):
        return _line({"at": kind, "samples": encode_samples(report.samples)})
    return _line({"at": kind} | asdict(report))


def decode_report(line: bytes) -> Report:
    """Return the report in a line; ControlError when it is none. The process is not trusted."""
    values = _table(line)
    kind = _REPORTS.get(str(values.pop("at", "")))
    if kind is None or set(values) - {f.name for f in fields(kind)}:
        raise ControlError("cannot read report: unknown kind or fields")
    match kind.__name__:
        case "Prepared":
            report: Report = Prepared(
                tuple(_of(t, str) for t in _of(values.get("subscribe"), list))
            )
        case "Failed":
            report = Failed(_of(values.get("error"), str)[:ERROR_LIMIT])
        case "Counts":
            report = Counts(**{name: _count(value) for name, value in values.items()})
        case "Measured":
            report = Measured(decode_samples(values.get("samples")))
        case "Doing":
            report = Doing(_of(values.get("step"), str)[:STEP_LIMIT])
        case "Isolation":
            report = _isolation(_of(values.get("findings"), dict))
        case _:
            report = _BARE[kind]
    return report


def _isolation(values: Mapping[str, Any]) -> Isolation:
    findings = {}
    for name, value in values.items():
        if name not in FINDINGS:
            raise ControlError("cannot read report: unknown finding")
        finding = _of(value, dict)
        try:
            level = Level(str(finding.get("level")))
        except ValueError as exc:
            raise ControlError("cannot read report: unknown level") from exc
        findings[name] = Finding(level, _of(finding.get("detail"), str)[:DETAIL_LIMIT])
    return Isolation(findings)


T = TypeVar("T")


def _of(value: Any, kind: type[T]) -> T:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ControlError(f"cannot read report: {type(value).__name__}, not {kind.__name__}")
    return value


def _count(value: Any) -> int:
    if not 0 <= _of(value, int) <= COUNT_MAX:
        raise ControlError("cannot read report: a count is negative, or has more than 63 bits")
    return int(value)


def _line(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values).encode() + b"\n"


def _table(line: bytes) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise ControlError("cannot read control line: not JSON") from exc
    if not isinstance(values, dict):
        raise ControlError("cannot read control line: not an object")
    return values
