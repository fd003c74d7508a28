"""Watches, ends and reaps one container: its init process, with all below it."""

import asyncio
import contextlib
import json
import os
import signal
import socket

from gateway.services.runtimes.cgroups import ContainerCgroup
from microservice.isolation.process_tree import kill_descendants
from microservice.isolation.spec import ABORT

STATUS_BYTES = 1024


class ContainerProcess:
    """The init process of a container, known by a descriptor: its pid may be given away."""

    def __init__(
        self, pid: int, pidfd: int, lifeline: socket.socket, cgroup: ContainerCgroup, *, tree: bool
    ) -> None:
        """Watch a process.

        Args:
            pid: of the init process.
            pidfd: the same; this object closes it.
            lifeline: the process sends its status there, and ends when it is closed.
            cgroup: of the container.
            tree: it has no pid namespace: its descendants must be ended one by one.
        """
        self.pid = pid
        self._pidfd, self._lifeline, self._cgroup, self._tree = pidfd, lifeline, cgroup, tree
        self._status: int | None = None
        self._gone = asyncio.Event()
        asyncio.get_running_loop().add_reader(pidfd, self._ended)

    async def wait(self) -> int:
        """Return the status of the front, as subprocess does, when nothing of it is left."""
        await self._gone.wait()
        return self._status if self._status is not None else -signal.SIGKILL

    def abort(self) -> None:
        """Make the front write where it is (faulthandler)."""
        with contextlib.suppress(OSError):
            self._lifeline.send(ABORT)

    async def kill(self) -> None:
        """Kill it with all that it has started."""
        await asyncio.to_thread(self._kill)

    def _kill(self) -> None:
        self._cgroup.kill()
        if self._tree and not self._gone.is_set():
            kill_descendants(self.pid)
        with contextlib.suppress(ProcessLookupError, OSError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    async def release(self) -> int:
        """Remove its cgroup; return how many of its processes the kernel ended for memory."""
        return await asyncio.to_thread(self._release)

    def _release(self) -> int:
        killed = self._cgroup.out_of_memory()
        self._cgroup.kill()
        self._cgroup.remove()
        return killed

    def _ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            self._status = int(json.loads(self._lifeline.recv(STATUS_BYTES))["status"])
        self._lifeline.close()
        pidfd, self._pidfd = self._pidfd, -1
        os.close(pidfd)
        with contextlib.suppress(ChildProcessError):  # it is ours if the warm parent is gone
            os.waitpid(self.pid, os.WNOHANG)
        self._gone.set()
