"""Tries, inside a container, what is forbidden, and reports the results.

It runs after all means are in force and before the developer's code. It asks the kernel and tries;
it does not trust what was requested: a container may have a limit that no kernel part enforces.
"""

import contextlib
import errno
import os
import resource
import socket
from dataclasses import dataclass
from pathlib import Path

from microservice.isolation.cgroup_files import CgroupFiles, read_own
from microservice.isolation.findings import Finding, Isolation, Level
from microservice.isolation.limits import MIB, NICENESS
from microservice.isolation.spec import ContainerSpec

_SOMEWHERE = ("192.0.2.1", 9)  # RFC 5737: an address for documentation, which nobody has
_NAMED_LIMIT = 3  # examples in one detail
_SECCOMP_FILTER = "2"
_LIMITED = ("memory", "cpu", "processes")  # by cgroups


@dataclass(frozen=True, slots=True)
class Outside:
    """Facts about the gateway's side, which the probe compares with its own."""

    uid: int
    namespaces: dict[str, str]  # of /proc/self/ns, by kind


def read_namespaces() -> dict[str, str]:
    """Return the namespaces of this process by kind."""
    kinds = ("user", "pid", "mnt", "net", "ipc", "uts")
    found = {}
    for kind in kinds:
        with contextlib.suppress(OSError):
            found[kind] = os.readlink(f"/proc/self/ns/{kind}")
    return found


def probe(
    spec: ContainerSpec, cgroups: CgroupFiles, outside: Outside, known: tuple[bool, str]
) -> Isolation:
    """Return the findings.

    Args:
        spec: the paths to try.
        cgroups: the limit files, opened when they were in reach.
        outside: the gateway's side.
        known: whether the kernel counts the container's processes alone; which steps failed.
    """
    counts_alone, why = known
    is_member = cgroups.is_member()
    limits = {name: cgroups.limit(name) if is_member else "" for name in _LIMITED}
    status = _read_status()
    namespaces = read_namespaces()
    own = {kind for kind, name in namespaces.items() if outside.namespaces.get(kind) != name}
    has_uid = os.getuid() != outside.uid
    findings = {
        "uid": _uid(has_uid, "user" in own, why),
        "privileges": _privileges(status),
        "files": _files(spec, "mnt" in own, why),
        "landlock": _landlock(),
        "processes_seen": _processes_seen("pid" in own),
        "network": _network("net" in own),
        "syscalls": _syscalls(status),
        "memory": _memory(limits["memory"]),
        "cpu": _cpu(limits["cpu"]),
        "processes": _processes(limits["processes"], counts_alone=counts_alone),
        "open_files": _open_files(),
    }
    return Isolation(findings)


def _read_status() -> dict[str, str]:
    lines = read_own("status").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _uid(has_uid: bool, has_user_namespace: bool, why: str) -> Finding:
    if has_uid:
        return Finding(Level.FULL, f"uid {os.getuid()}")
    if has_user_namespace:
        return Finding(Level.FULL, f"a user namespace of its own, uid {os.getuid()}")
    return Finding(Level.NONE, f"the uid of the gateway, {os.getuid()}{f' ({why})' if why else ''}")


def _privileges(status: dict[str, str]) -> Finding:
    held = int(status.get("CapPrm", "1"), 16) | int(status.get("CapEff", "1"), 16)
    if status.get("NoNewPrivs") != "1":
        return Finding(Level.NONE, "setuid programs give privileges")
    if held:
        return Finding(Level.PART, f"no new privileges; capabilities {held:#x}")
    return Finding(Level.FULL, "no capabilities, no new privileges")


def _files(spec: ContainerSpec, has_root: bool, why: str) -> Finding:
    """Try to open what lies in the gateway's folder, the container's own paths left out."""
    own = [spec.data, spec.scratch, spec.code, *spec.sockets]
    seen = [path for path in _walk(spec.state, own) if _can_open(path)]
    if seen:
        names = ", ".join(Path(one).name for one in seen[:_NAMED_LIMIT])
        return Finding(Level.NONE, f"it can open the gateway's files: {names}")
    where = "a root of its own" if has_root else f"the machine's root ({why})"
    return Finding(Level.FULL, f"{where}; the gateway's folder is out of reach")


def _walk(folder: str, own: list[str]) -> list[str]:
    """Return the entries of a folder and of those on the way to the container's own paths."""
    entries: list[str] = []
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            entry = f"{folder}/{name}"
            if entry in own:
                continue
            if any(one.startswith(f"{entry}/") for one in own):
                entries += _walk(entry, own)
            else:
                entries.append(entry)
    return entries


def _can_open(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    except OSError as exc:
        return exc.errno == errno.ENXIO  # a socket: it is within reach, though not by open()
    return True


def _landlock() -> Finding:
    """Try to list the root folder: permissions allow it, only Landlock refuses it."""
    try:
        os.listdir("/")
    except PermissionError:
        return Finding(Level.FULL, "Landlock refuses all paths but its own")
    except OSError as exc:
        return Finding(Level.NONE, f"cannot tell: {exc.strerror}")
    return Finding(Level.NONE, "no Landlock in the kernel: permissions alone decide")


def _processes_seen(has_namespace: bool) -> Finding:
    own, parent, others = os.getpid(), os.getppid(), 0
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except PermissionError:
        pids = []
    for pid in pids:
        with contextlib.suppress(OSError):
            others += pid not in (own, parent) and bool(Path(f"/proc/{pid}/stat").read_bytes())
    if others:
        return Finding(Level.NONE, f"it sees {others} processes of others")
    if has_namespace:
        return Finding(Level.FULL, "a pid namespace of its own")
    return Finding(Level.PART, "the machine's pid namespace; /proc is closed")


def _network(has_namespace: bool) -> Finding:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            any_socket.connect(_SOMEWHERE)
    except OSError as exc:
        if exc.errno in (errno.EAFNOSUPPORT, errno.EPERM):
            return Finding(Level.FULL, "no Internet sockets; only the gateway's Unix socket")
        if has_namespace and exc.errno == errno.ENETUNREACH:
            names = ", ".join(name for _, name in socket.if_nameindex())
            return Finding(Level.FULL, f"a network namespace of its own with {names} only")
        return Finding(Level.NONE, f"the machine's network ({exc.strerror} at present)")
    return Finding(Level.NONE, "the machine's network")


def _syscalls(status: dict[str, str]) -> Finding:
    if status.get("Seccomp") == _SECCOMP_FILTER:
        return Finding(Level.FULL, "a seccomp filter")
    return Finding(Level.NONE, "no seccomp filter")


def _memory(limit: str) -> Finding:
    own, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit:
        return Finding(Level.FULL, f"cgroup, {int(limit) // MIB} MiB for all its processes")
    if own != resource.RLIM_INFINITY:
        return Finding(Level.PART, f"{own // MIB} MiB of address space for each process alone")
    return Finding(Level.NONE, "no limit")


def _cpu(limit: str) -> Finding:
    if limit:
        return Finding(Level.FULL, f"cgroup, {int(limit) // 1000} % of a core")
    if os.nice(0) >= NICENESS:
        return Finding(Level.PART, "no limit; the gateway comes first (nice)")
    return Finding(Level.NONE, "no limit")


def _processes(limit: str, *, counts_alone: bool) -> Finding:
    if limit:
        return Finding(Level.FULL, f"cgroup, {limit} processes and threads")
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if counts_alone and soft != resource.RLIM_INFINITY:
        return Finding(Level.FULL, f"{soft} processes and threads of its uid")
    return Finding(Level.NONE, "no limit of its own")


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return Finding(Level.NONE, "no limit")
    return Finding(Level.FULL, f"{soft} for each process")
