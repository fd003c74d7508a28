"""Makes cgroups for containers, with limits of memory, processor and processes; blocks.

Version 2 is used where the gateway owns its cgroup (Delegate=yes in its systemd unit), version 1
where it is mounted and writable. A controller that neither offers is left out; the probe inside
the container reports which limits the kernel has.

A cgroup of version 2 with controllers holds either processes or groups. The gateway's
processes therefore move into a group of their own beside the containers' one.
"""

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from microservice.isolation.limits import MIB, OVERHEAD_PROCESSES

FRONT_MIB = 24  # a front's copy of the warm parent's memory; memory_mib comes on top
PERIOD_US = 100_000
CONTROLLERS = ("memory", "cpu", "pids")
_REMOVE_TRIES, _REMOVE_PAUSE_S = 40, 0.025  # the kernel empties a cgroup after its last process
_PREFIX = "hecate-"  # and the pid of the gateway
_WEIGHT, _SHARES = "50", "512"  # half of the default: the gateway comes first


@dataclass(frozen=True, slots=True)
class CgroupLimits:
    """The limits of one container."""

    memory_mib: int
    cpu: float  # of a core
    processes: int


@dataclass(frozen=True, slots=True)
class CgroupTree:
    """The folders below which containers get cgroups."""

    unified: Path | None = None  # of version 2
    controllers: frozenset[str] = frozenset()  # of version 2
    legacy: tuple[tuple[str, Path], ...] = ()  # of version 1, by controller

    def make(self, name: str) -> "ContainerCgroup":
        """Make the cgroups of one container, without limits; what cannot be made is left out."""
        parents = [self.unified] if self.unified is not None else []
        parents += [folder for _, folder in self.legacy]
        return ContainerCgroup(tuple(each / name for each in parents if _make(each / name)))

    def remove(self) -> None:
        """Remove the folders; the containers must have ended."""
        for folder in (self.unified, *(folder for _, folder in self.legacy)):
            if folder is not None:
                with contextlib.suppress(OSError):
                    folder.rmdir()


@dataclass(frozen=True, slots=True)
class ContainerCgroup:
    """The cgroups of one container."""

    folders: tuple[Path, ...] = ()

    def set_limits(self, limits: CgroupLimits) -> None:
        """Write the limits into the files that the kernel has for them."""
        wanted = _limit_files(limits)
        for folder in self.folders:
            with contextlib.suppress(OSError):
                present = set(os.listdir(folder))  # noqa: PTH208  # speed: a launch waits for it
                for name, value in wanted.items():
                    if name in present:
                        _write(folder / name, value)

    def kill(self) -> None:
        """Kill all processes in it, where the kernel can (version 2, Linux 5.14)."""
        for folder in self.folders:
            if (folder / "cgroup.kill").exists():
                _write(folder / "cgroup.kill", "1")

    def out_of_memory(self) -> int:
        """Return how many processes the kernel has ended at the memory limit."""
        return max(
            (_count(folder / name, "oom_kill") for folder in self.folders
             for name in ("memory.events", "memory.oom_control")),
            default=0,
        )  # fmt: skip

    def remove(self) -> None:
        """Remove the cgroups; the processes must have been killed."""
        for folder in self.folders:
            for _ in range(_REMOVE_TRIES):
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(_REMOVE_PAUSE_S)
                else:
                    break


def find_cgroups(proc: Path = Path("/proc")) -> CgroupTree:
    """Return the folders for containers of this gateway; removes those of dead gateways."""
    name = f"{_PREFIX}{os.getpid()}"
    own = _own_folders(proc)
    for folder in own.values():
        _remove_dead(folder, proc)
    unified, controllers = None, frozenset[str]()
    if "" in own:
        unified, controllers = _claim_unified(own[""], name)
    legacy = []
    for controller in CONTROLLERS:
        if controller in own and controller not in controllers:
            folder = own[controller] / name
            if _make_folder(folder):
                if controller == "cpu":
                    _write(folder / "cpu.shares", _SHARES)
                legacy.append((controller, folder))
    return CgroupTree(unified, controllers, tuple(legacy))


def _own_folders(proc: Path) -> dict[str, Path]:
    """Return this process's cgroup folders by controller; "" stands for version 2."""
    mounts: dict[str, Path] = {}
    with contextlib.suppress(OSError):
        for line in (proc / "self/mounts").read_text().splitlines():
            _, where, kind, options = line.split()[:4]
            if kind == "cgroup2":
                mounts.setdefault("", Path(where))
            elif kind == "cgroup":
                for option in options.split(","):
                    mounts.setdefault(option, Path(where))
    own: dict[str, Path] = {}
    with contextlib.suppress(OSError):
        for line in (proc / "self/cgroup").read_text().splitlines():
            _, names, path = line.split(":", 2)
            for controller in names.split(","):
                if controller in mounts:
                    own[controller] = mounts[controller] / path.lstrip("/")
    return own


def _claim_unified(own: Path, name: str) -> tuple[Path | None, frozenset[str]]:
    if not _is_ours(own):
        return None, frozenset()
    folder = own / name
    if not _make_folder(folder):
        return None, frozenset()
    offered = set(_read(own / "cgroup.controllers").split()) & set(CONTROLLERS)
    if offered and not offered <= set(_read(own / "cgroup.subtree_control").split()):
        if (own / "cgroup.type").exists():  # all but the root cgroup have this file
            _move_processes(own, own / "hecate-gateway")
        for controller in offered:
            _write(own / "cgroup.subtree_control", f"+{controller}")
    for controller in offered:
        _write(folder / "cgroup.subtree_control", f"+{controller}")
    _write(folder / "cpu.weight", _WEIGHT)
    return folder, frozenset(_read(folder / "cgroup.subtree_control").split())


def _is_ours(own: Path) -> bool:
    """Return whether the service manager leaves the cgroup to us."""
    if not os.access(own, os.W_OK):
        return False
    if os.getuid() != 0 or not (own / "cgroup.type").exists():  # given to us; or the root cgroup
        return True
    for attribute in ("user.delegate", "trusted.delegate"):  # systemd sets them: Delegate=yes
        with contextlib.suppress(OSError):
            if os.getxattr(own, attribute) == b"1":
                return True
    return False


def _move_processes(source: Path, target: Path) -> None:
    with contextlib.suppress(OSError):
        target.mkdir(exist_ok=True)
    for pid in _read(source / "cgroup.procs").split():
        _write(target / "cgroup.procs", pid)


def _remove_dead(parent: Path, proc: Path) -> None:
    """Remove the folders of gateways that were killed; their containers have ended."""
    for folder in parent.glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX)
        if pid.isdecimal() and not (proc / pid).exists():
            with contextlib.suppress(OSError):
                for left in folder.iterdir():
                    if left.is_dir():
                        ContainerCgroup((left,)).kill()
                        left.rmdir()
                folder.rmdir()


def _make_folder(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        folder.mkdir(exist_ok=True)
    return os.access(folder, os.W_OK)


def _make(folder: Path) -> bool:
    try:
        folder.mkdir()
    except OSError:
        return False
    return True


def _limit_files(limits: CgroupLimits) -> dict[str, str]:
    """Return the contents of limit files, of version 2 and of version 1."""
    memory = str((limits.memory_mib + FRONT_MIB) * MIB)
    quota = int(limits.cpu * PERIOD_US)
    return {
        "memory.max": memory,
        "memory.swap.max": "0",
        "memory.limit_in_bytes": memory,
        "cpu.max": f"{quota} {PERIOD_US}",
        "cpu.cfs_period_us": str(PERIOD_US),
        "cpu.cfs_quota_us": str(quota),
        "pids.max": str(limits.processes + OVERHEAD_PROCESSES),
    }


def _count(file: Path, key: str) -> int:
    for line in _read(file).splitlines():
        name, _, value = line.partition(" ")
        if name == key and value.isdecimal():
            return int(value)
    return 0


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def _write(file: Path, value: str) -> None:
    with contextlib.suppress(OSError):
        fd = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)
