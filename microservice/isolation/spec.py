"""Encodes what a gateway sends to the warm parent and to a process that stands by, and answers."""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from microservice.errors import ControlError

REQUEST_BYTES = 64 * 1024
STANDBY_DESCRIPTORS = 3  # the socket for the launch, the control socket, the lifeline
LAUNCH_DESCRIPTORS = 2  # HTTP listener, output
CONTROL_FD, HTTP_FD = 3, 4  # the numbers that they have in the front
ABORT = b"abort"  # on the lifeline: make the front write where it is


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """The environment of one container process. It holds no secret: they go to the process."""

    name: str
    data: str  # its own folder: HOME, current folder
    scratch: str  # for temporary files
    state: str  # the gateway's folder, which must not be reachable
    code: str
    sockets: tuple[str, ...] = ()  # the paths that it may connect to
    environment: dict[str, str] = field(default_factory=dict)
    uid: int | None = None  # None: it keeps the uid of the gateway
    memory_mib: int = 128
    processes: int = 64
    open_files: int = 256
    required: tuple[str, ...] = ()  # findings without which it must not run
    devices: tuple[str, ...] = ()  # device files that it may open


@dataclass(frozen=True, slots=True)
class Preparation:
    """The request to the warm parent for a process that stands by."""

    cgroups: tuple[str, ...] = ()  # folders of cgroups that it joins


@dataclass(frozen=True, slots=True)
class Abilities:
    """The first message of a warm parent: the means that the kernel and its rights allow."""

    namespaces: bool = False  # of pids, mounts, networks
    uids: bool = False  # it may give a container a uid of its own, and a root where that may read


@dataclass(frozen=True, slots=True)
class Forked:
    """The answer of the warm parent: the pid of the init process, or the reason of a failure."""

    pid: int = 0
    error: str = ""


def encode_spec(spec: ContainerSpec) -> bytes:
    """Return the launch as bytes."""
    return json.dumps(asdict(spec)).encode()


def decode_spec(data: bytes) -> ContainerSpec:
    """Return the launch in these bytes; ControlError when there is none."""
    values = _read(data)
    known = {f.name for f in fields(ContainerSpec)}
    if set(values) - known:
        raise ControlError("cannot read request for a process: unknown fields")
    for name in ("sockets", "required", "devices"):
        values[name] = tuple(values.get(name, ()))
    try:
        return ContainerSpec(**values)
    except TypeError as exc:
        raise ControlError(f"cannot read request for a process: {exc}") from exc


def encode_preparation(preparation: Preparation) -> bytes:
    """Return the request as bytes."""
    return json.dumps(asdict(preparation)).encode()


def decode_preparation(data: bytes) -> Preparation:
    """Return the request in these bytes; ControlError when there is none."""
    cgroups = _read(data).get("cgroups")
    if not isinstance(cgroups, list) or not all(isinstance(one, str) for one in cgroups):
        raise ControlError("cannot read request for a process: cgroups are no list of paths")
    return Preparation(tuple(cgroups))


def encode_abilities(abilities: Abilities) -> bytes:
    """Return the first message as bytes."""
    return json.dumps(asdict(abilities)).encode()


def decode_abilities(data: bytes) -> Abilities:
    """Return the first message in these bytes; ControlError when there is none."""
    values = _read(data)
    return Abilities(values.get("namespaces") is True, values.get("uids") is True)


def encode_forked(forked: Forked) -> bytes:
    """Return the answer as bytes."""
    return json.dumps(asdict(forked)).encode()


def decode_forked(data: bytes) -> Forked:
    """Return the answer in these bytes; ControlError when there is none."""
    values = _read(data)
    try:
        return Forked(int(values["pid"]), str(values["error"]))
    except (KeyError, ValueError, TypeError) as exc:
        raise ControlError(f"cannot read answer of the warm parent: {exc!r}") from exc


def _read(data: bytes) -> dict[str, Any]:
    try:
        values = json.loads(data)
    except ValueError as exc:
        raise ControlError("cannot read message of the warm parent: not JSON") from exc
    if not isinstance(values, dict):
        raise ControlError("cannot read message of the warm parent: not an object")
    return values
