"""Makes a forked process the front of a container: drops rights, probes, runs the service."""

import contextlib
import fcntl
import os
import signal
import socket
import stat
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from microservice.isolation import kernel, landlock
from microservice.isolation.cgroup_files import CgroupFiles
from microservice.isolation.findings import Isolation
from microservice.isolation.limits import set_limits
from microservice.isolation.probe import Outside, probe
from microservice.isolation.root_folder import finish_root, rehearse_root
from microservice.isolation.seccomp import install
from microservice.isolation.spec import (
    CONTROL_FD,
    HTTP_FD,
    LAUNCH_DESCRIPTORS,
    REQUEST_BYTES,
    ContainerSpec,
    decode_spec,
)
from microservice.isolation.view import (
    DEVICES,
    ETC,
    SHARED_MEMORY,
    SYSTEM,
    FileView,
)

HOST_NAME_BYTES = 64  # linux/utsname.h
_FIRST_FREE_FD = 20  # above the numbers that a front expects
_DEVICE_RIGHTS = landlock.READ_FILE | landlock.WRITE_FILE | landlock.IOCTL_DEV
_FD_END = 1 << 20  # fs.nr_open, by default


# runs a service: findings, required findings; returns the exit status
Serve = Callable[[Isolation, tuple[str, ...]], int]


@dataclass(slots=True)
class Means:
    """The steps that worked, and the errors of those that did not."""

    pid_namespace: bool = False
    root: bool = False
    network: bool = False
    names: bool = False  # a host name, and IPC objects, of its own
    errors: dict[str, str] = field(default_factory=dict)

    def attempt(self, name: str, step: Callable[[], None]) -> bool:
        """Take a step that the kernel may not allow; return whether it worked."""
        try:
            step()
        except OSError as exc:
            self.errors[name] = str(exc.strerror or exc)
            return False
        return True

    @property
    def why(self) -> str:
        """The errors in one line."""
        return "; ".join(f"{name}: {error}" for name, error in self.errors.items())


@dataclass(frozen=True, slots=True)
class Common:
    """The things that all containers of a warm parent have."""

    root: str  # the folder on which each builds its root, in a mount namespace of its own
    read_only: tuple[str, ...]  # the folders of the interpreter and its libraries
    outside: Outside
    prepare_service: Callable[[int], Serve]  # opens the control socket of this number
    rehearse: Callable[[CgroupFiles, Outside], None]
    filters: Mapping[bool, bytes]  # of system calls, by: it has a network namespace
    counts_by_namespace: bool  # RLIMIT_NPROC counts a user for each user namespace alone


def run_front(
    sockets: tuple[socket.socket, int], common: Common, means: Means, cgroups: CgroupFiles
) -> int:
    """Prepare all that needs no launch, wait for one; isolate this process, run the service.

    Args:
        sockets: for the launch; the number of the control socket.
        common: the things that all containers have.
        means: the steps that were taken already.
        cgroups: of the container.

    Returns:
        the exit status.
    """
    kernel.set_process_name("standby")
    launch = _place_descriptors(*sockets, keep=cgroups)
    os.setsid()
    os.environ.clear()
    ruleset = _begin_ruleset(common, means)
    serve = common.prepare_service(CONTROL_FD)
    common.rehearse(cgroups, common.outside)
    if means.root:
        means.attempt("root", lambda: rehearse_root(common.root))
    data, descriptors, _, _ = socket.recv_fds(launch, REQUEST_BYTES, LAUNCH_DESCRIPTORS)
    if not data:  # the gateway needs no further process
        return 0
    launch.close()
    _place_launched(*descriptors)
    spec = decode_spec(data)
    isolation = _isolate(spec, common, means, cgroups, ruleset)
    cgroups.close()
    sys.argv = ["microservice.entry", str(CONTROL_FD)]
    return serve(isolation, spec.required)


def _isolate(
    spec: ContainerSpec,
    common: Common,
    means: Means,
    cgroups: CgroupFiles,
    ruleset: landlock.Ruleset | None,
) -> Isolation:
    """Put all means in force that need the launch; return what the probe finds then."""
    view = FileView(
        read_only=common.read_only,
        code=spec.code,
        writable=(spec.data, spec.scratch),
        sockets=spec.sockets,
        devices=spec.devices,
        hidden=spec.state,
    )
    kernel.set_process_name(spec.name)
    os.environ.update(spec.environment)
    if means.root:
        means.root = means.attempt("root", lambda: finish_root(common.root, view))
        if ruleset is not None and not means.root:  # it is for a root that this process has not
            ruleset.close()
            ruleset = _begin_ruleset(common, means)
    if means.names:
        socket.sethostname(spec.name[:HOST_NAME_BYTES])
    has_identity = _change_identity(spec, means)
    counts_alone = has_identity and (spec.uid is not None or common.counts_by_namespace)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    by_user = counts_alone and not (cgroups.limit("processes") and cgroups.is_member())
    set_limits(spec, by_user=by_user)
    # without either, another container of this user could read /proc/<pid>/environ
    is_alone = has_identity or means.pid_namespace
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1 if is_alone else 0)
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    if ruleset is not None:
        means.attempt("landlock", lambda: _restrict_files(ruleset, view))
    means.attempt("seccomp", lambda: install(common.filters[means.network]))
    os.chdir(spec.data)
    return probe(spec, cgroups, common.outside, (counts_alone, means.why))


def _place_descriptors(launch: socket.socket, control: int, keep: CgroupFiles) -> socket.socket:
    """Give the descriptors their fixed numbers; close all others of the warm parent."""
    waiting, control = _above(launch.detach()), _above(control)
    keep.opened = {name: [_above(fd) for fd in fds] for name, fds in keep.opened.items()}
    null = _above(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.dup2(control, CONTROL_FD, inheritable=False)
    os.dup2(null, HTTP_FD, inheritable=False)
    still = {waiting, *(fd for fds in keep.opened.values() for fd in fds)}
    first = HTTP_FD + 1
    for fd in (*sorted(still), _FD_END):
        os.closerange(first, fd)
        first = fd + 1
    return socket.socket(fileno=waiting)


def _place_launched(http: int, output: int) -> None:
    """Give the descriptors of a launch their fixed numbers."""
    os.dup2(output, 2)  # first: an error belongs into the container's log
    os.dup2(output, 1)
    os.dup2(http, HTTP_FD, inheritable=False)
    os.close(output)
    os.close(http)


def _above(fd: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE_FD)


def _change_identity(spec: ContainerSpec, means: Means) -> bool:
    """Take the container's uid, or a user namespace; return whether there is either."""
    if spec.uid is not None:
        uid, groups = spec.uid, _groups_of(spec.devices)
        done = means.attempt("uid", lambda: _become(uid, groups))
        os.environ["HOME"] = spec.data
        return done
    if not means.pid_namespace:
        return False
    return means.attempt("user namespace", kernel.enter_user_namespace)


def _groups_of(devices: tuple[str, ...]) -> list[int]:
    """Return the groups that may open the devices, such as dialout; never that of root."""
    found = set()
    for path in devices:
        with contextlib.suppress(OSError):
            status = os.stat(path)
            if status.st_mode & stat.S_IRGRP and status.st_gid:
                found.add(status.st_gid)
    return sorted(found)


def _become(uid: int, groups: list[int]) -> None:
    os.setgroups(groups)
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _begin_ruleset(common: Common, means: Means) -> landlock.Ruleset | None:
    """Return a ruleset with the paths of all containers; None when the kernel has no Landlock."""
    made: list[landlock.Ruleset] = []

    def begin() -> None:
        made.append(landlock.Ruleset(forbid_tcp=not means.network))
        rules = _common_rules(common, has_root=means.root)
        made[0].allow(rules, common.root if means.root else "/")

    return made[0] if means.attempt("landlock", begin) else None


def _common_rules(common: Common, *, has_root: bool) -> list[tuple[str, int]]:
    rules = [(path, landlock.READ_AND_EXECUTE) for path in (*SYSTEM, *common.read_only)]
    rules += [(path, landlock.READ) for path in ETC]
    rules += [(path, landlock.READ_FILE | landlock.WRITE_FILE) for path in DEVICES]
    if has_root:
        writable = landlock.writable_rights(landlock.landlock_abi())
        return [*rules, ("/proc", landlock.READ), (SHARED_MEMORY, writable)]
    # the machine's: all but its own part stays closed
    own = ("/proc/self", "/proc/cpuinfo", "/proc/meminfo")
    return rules + [(path, landlock.READ) for path in own]


def _restrict_files(ruleset: landlock.Ruleset, view: FileView) -> None:
    writable = landlock.writable_rights(landlock.landlock_abi())
    ruleset.allow([(view.code, landlock.READ_AND_EXECUTE)])
    ruleset.allow([(path, _DEVICE_RIGHTS) for path in view.devices])
    ruleset.allow([(path, writable) for path in view.writable])
    ruleset.enforce()
