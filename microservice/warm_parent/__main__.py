"""Forks container processes on request.

It has imported the kit, so that a fork is ready within milliseconds and shares its memory. It has
one thread, no event loop and no secret. A request asks for a process that stands by: it has its
namespaces and cgroups, which take the kernel 5 to 50 ms, and waits for the launch of a container
on a socket that came with the request. The random state of a fork is its own
(os.register_at_fork); all forks share the layout of the address space and the seed of
str.__hash__.

An intermediate process forks the init process and ends, because a pid namespace holds for the
next child only. The init process then belongs to this one, its subreaper. When the warm parent
dies, containers live on: the gateway watches each through a pidfd and a socket of its own.
"""

# every front needs these, some of them late: here their pages are shared
import concurrent.futures.thread  # noqa: F401
import contextlib
import encodings.idna  # noqa: F401
import gc
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from microservice.entry import prepare_service
from microservice.errors import ControlError
from microservice.isolation import kernel
from microservice.isolation.container_init import run_init
from microservice.isolation.front import Common, Means
from microservice.isolation.probe import Outside, read_namespaces
from microservice.isolation.seccomp import assemble, make_filter
from microservice.isolation.spec import (
    REQUEST_BYTES,
    STANDBY_DESCRIPTORS,
    Abilities,
    Forked,
    Preparation,
    decode_preparation,
    encode_abilities,
    encode_forked,
)
from microservice.isolation.view import interpreter_paths
from microservice.warm_parent.rehearsal import rehearse

_NEW_ALL = (
    kernel.CLONE_NEWPID | kernel.CLONE_NEWNS | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS
)  # fmt: skip
_COUNTS_BY_NAMESPACE = (5, 14)  # before it, RLIMIT_NPROC counted a user in all user namespaces
_OWN_PACKAGES = ("microservice", "settings")


def main() -> None:
    """Serve requests until the gateway closes the socket."""
    requests, folder = socket.socket(fileno=int(sys.argv[1])), sys.argv[2]
    abilities = _find_abilities(folder)
    # after that: a user namespace that all containers share isolates none from another
    outside = Outside(os.getuid(), read_namespaces())
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the gateway, which stops all
    filters = {network: assemble(make_filter(network=network)) for network in (True, False)}
    paths = interpreter_paths((sys.prefix, sys.base_prefix), sys.path, _packages())
    counts = kernel.version_of(os.uname().release) >= _COUNTS_BY_NAMESPACE
    common = Common(folder, paths, outside, prepare_service, rehearse, filters, counts)
    gc.collect()
    gc.freeze()  # a collection in a fork would copy every page
    requests.send(encode_abilities(abilities))
    while True:
        data, descriptors, _, _ = socket.recv_fds(requests, REQUEST_BYTES, STANDBY_DESCRIPTORS)
        if not data:
            return
        try:
            preparation = decode_preparation(data)
            if len(descriptors) != STANDBY_DESCRIPTORS:
                raise ControlError(f"cannot start a process: {len(descriptors)} descriptors")  # noqa: TRY301
            _fork_intermediate(preparation, descriptors, requests, common)
        except (ControlError, OSError) as exc:
            requests.send(encode_forked(Forked(error=str(exc))))
        finally:
            for fd in descriptors:
                os.close(fd)


def _find_abilities(folder: str) -> Abilities:
    """Find out which namespaces are possible; enter a user namespace if that gives the rights."""
    if _works(lambda: _try_namespaces(folder)):
        return Abilities(namespaces=True, uids=os.getuid() == 0)

    def in_user_namespace() -> None:
        kernel.enter_user_namespace()
        _try_namespaces(folder)

    if _works(in_user_namespace):
        kernel.enter_user_namespace()
        return Abilities(namespaces=True)
    return Abilities()


def _works(step: Callable[[], None]) -> bool:
    """Return whether a step is possible: a fork takes it."""
    pid = os.fork()
    if pid == 0:
        try:
            step()
        except OSError:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    return status == 0


def _try_namespaces(folder: str) -> None:
    kernel.unshare(_NEW_ALL)

    def mount() -> None:
        kernel.mount("", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
        kernel.mount("tmpfs", folder, "tmpfs", 0, "size=64k")
        Path(folder, "proc").mkdir()
        kernel.mount("proc", f"{folder}/proc", "proc", 0)
        kernel.set_mount_attributes(folder, kernel.ATTR_RDONLY)

    if not _works(mount):
        raise OSError("no root of its own")


def _packages() -> dict[str, list[str]]:
    return {name: list(sys.modules[name].__path__) for name in _OWN_PACKAGES if name in sys.modules}


def _fork_intermediate(
    preparation: Preparation, descriptors: list[int], requests: socket.socket, common: Common
) -> None:
    if os.fork():
        return
    code = 1
    try:
        code = _intermediate(preparation, descriptors, requests, common)
    except BaseException:  # noqa: BLE001  # the fork must not return into the loop
        traceback.print_exc()
    finally:
        os._exit(code)


def _intermediate(
    preparation: Preparation, descriptors: list[int], requests: socket.socket, common: Common
) -> int:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    means = Means()
    means.pid_namespace = means.attempt(
        "pid namespace", lambda: kernel.unshare(kernel.CLONE_NEWPID)
    )
    pid = os.fork()
    if pid == 0:
        os.close(requests.detach())
        status = run_init(preparation, descriptors, common, means)
        _flush()
        os._exit(status)
    pidfd = os.pidfd_open(pid)
    socket.send_fds(requests, [encode_forked(Forked(pid))], [pidfd])
    return 0


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()


if __name__ == "__main__":
    main()
