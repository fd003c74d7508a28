"""Is the first process of a container: builds its namespaces, starts the front, ends with it.

In a pid namespace it has pid 1: the kernel kills whatever the container started when it ends, and
gives it the orphans, which it reaps. Without one it is the subreaper of the container, and kills
its descendants itself. It ends the container when the gateway is gone, also if the warm parent
went before.
"""

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
import traceback

from microservice.isolation import kernel
from microservice.isolation.cgroup_files import CgroupFiles, join_cgroups
from microservice.isolation.front import Common, Means, run_front
from microservice.isolation.limits import give_way
from microservice.isolation.process_tree import kill_descendants
from microservice.isolation.root_folder import begin_root
from microservice.isolation.spec import ABORT, Preparation

GATEWAY_GONE_S = 2.0  # for the service to stop by itself when the gateway is gone


def run_init(preparation: Preparation, descriptors: list[int], common: Common, means: Means) -> int:
    """Prepare all that needs no launch, fork the front, wait for its end, report its status.

    Returns:
        the exit status.
    """
    launch_fd, control_fd, lifeline_fd = descriptors
    kernel.set_process_name("container-init")
    give_way()
    cgroups = join_cgroups(preparation.cgroups)
    if cgroups.errors:
        means.errors["cgroup"] = cgroups.errors[0]
    means.network = means.attempt("network namespace", _enter_network)
    means.names = means.attempt(
        "ipc and uts namespaces",
        lambda: kernel.unshare(kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS),
    )
    if means.pid_namespace:  # a /proc of the machine would show the pids of others
        means.root = means.attempt("root", lambda: begin_root(common.root, common.read_only))
    else:
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    front = os.fork()
    if front == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(lifeline_fd)
        sockets = socket.socket(fileno=launch_fd), control_fd
        return _run_front_or_explain(sockets, common, means, cgroups)
    cgroups.close()
    os.close(launch_fd)
    os.close(control_fd)
    _forget_terminal()
    _drop_rights()
    lifeline = socket.socket(fileno=lifeline_fd)
    status = _wait(front, lifeline, woken)
    if not means.pid_namespace:
        kill_descendants(os.getpid())
    with contextlib.suppress(OSError):
        lifeline.send(json.dumps({"status": status}).encode())
    return 0


def _run_front_or_explain(
    sockets: tuple[socket.socket, int], common: Common, means: Means, cgroups: CgroupFiles
) -> int:
    """Run the front as an interpreter runs a program: exit codes, errors, exit functions."""
    code = 1
    try:
        code = run_front(sockets, common, means, cgroups)
    except SystemExit as exc:
        if isinstance(exc.code, str):
            sys.stderr.write(f"{exc.code}\n")
        else:
            code = exc.code or 0
    except BaseException:  # noqa: BLE001  # the fork must not return into the parent's code
        traceback.print_exc()
    atexit._run_exitfuncs()  # noqa: SLF001  # the process ends by os._exit(), which runs none
    return code


def _enter_network() -> None:
    kernel.unshare(kernel.CLONE_NEWNET)
    kernel.bring_loopback_up()


def _forget_terminal() -> None:
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)
    sys.stdout = sys.stderr = None


def _drop_rights() -> None:
    """Keep the right to kill, which the uid of the front requires, and no other."""
    kernel.keep_capability(kernel.CAP_KILL)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)


def _wait(front: int, lifeline: socket.socket, woken: int) -> int:
    """Reap processes until the front is gone; return its status as subprocess does."""
    poll = select.poll()
    poll.register(woken, select.POLLIN)
    poll.register(lifeline, select.POLLIN)
    deadline: float | None = None
    while True:
        status = _reap(front)
        if status is not None:
            return status
        left_ms = None if deadline is None else max(0, int((deadline - time.monotonic()) * 1000))
        for fd, _ in poll.poll(left_ms):
            if fd == woken:
                with contextlib.suppress(BlockingIOError):
                    os.read(woken, 4096)
            elif lifeline.recv(16) == ABORT:
                os.kill(front, signal.SIGABRT)
            else:  # the gateway is gone
                poll.unregister(lifeline)
                deadline = time.monotonic() + GATEWAY_GONE_S
        if deadline is not None and time.monotonic() >= deadline:
            return -signal.SIGKILL


def _reap(front: int) -> int | None:
    """Reap all that has ended; return the status of the front if it is among them."""
    found = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == front:
                found = os.waitstatus_to_exitcode(status)
    return found
