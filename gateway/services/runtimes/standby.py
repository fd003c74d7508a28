"""Keeps one process ready that becomes the next container.

A pid namespace, a network namespace and cgroups take the kernel 5 to 50 ms. A process that stands
by has them already, so that a container starts within a few milliseconds.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import select
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.services.runtimes.cgroups import CgroupTree, ContainerCgroup, find_cgroups
from gateway.services.runtimes.container_process import ContainerProcess
from gateway.services.runtimes.port import ProcessError
from gateway.services.runtimes.warm_parent import WarmParent
from microservice.isolation.spec import ContainerSpec, encode_spec

logger = logging.getLogger(__name__)

REFILL_S = 0.3  # after a start, which has the processor first


@dataclass(frozen=True, slots=True)
class StandbyProcess:
    """A process that waits for a launch; its owner launches or discards it."""

    pid: int  # of its init process
    pidfd: int
    channel: socket.socket  # for the launch
    control: socket.socket  # for commands and reports; its launcher owns it
    lifeline: socket.socket
    cgroup: ContainerCgroup
    has_namespaces: bool

    def is_alive(self) -> bool:
        """Return whether it still waits."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return not poll.poll(0)

    def launch(self, spec: ContainerSpec, descriptors: Sequence[int]) -> ContainerProcess:
        """Make it a container, which takes over the descriptors; OSError when it is gone."""
        socket.send_fds(self.channel, [encode_spec(spec)], list(descriptors))
        self.channel.close()
        return ContainerProcess(
            self.pid, self.pidfd, self.lifeline, self.cgroup, tree=not self.has_namespaces
        )

    def discard(self) -> None:
        """End it; blocks until its cgroup is gone."""
        self.channel.close()
        self.control.close()
        self.lifeline.close()
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        os.close(self.pidfd)
        self.cgroup.kill()
        self.cgroup.remove()


class StandbyPool:
    """Holds at most one process that stands by."""

    def __init__(self, warm_parent: WarmParent) -> None:
        self._warm_parent = warm_parent
        self._cgroups: CgroupTree | None = None
        self._ready: StandbyProcess | None = None
        self._refilling: asyncio.Task[None] | None = None
        self._closed = False

    async def take(self) -> StandbyProcess:
        """Return a process that waits for its launch; ProcessError when there can be none."""
        ready, self._ready = self._ready, None
        if ready is not None and not ready.is_alive():
            await asyncio.to_thread(ready.discard)
            ready = None
        self._refill_later()
        return ready or await self._prepare()

    def close(self) -> None:
        """End the process that stands by; remove the cgroups."""
        self._closed = True
        if self._refilling is not None:
            self._refilling.cancel()
        if self._ready is not None:
            self._ready.discard()
            self._ready = None
        if self._cgroups is not None:
            self._cgroups.remove()

    async def _prepare(self) -> StandbyProcess:
        if self._cgroups is None:
            self._cgroups = await asyncio.to_thread(find_cgroups)
        cgroup = self._cgroups.make(secrets.token_hex(8))
        with contextlib.ExitStack() as given, contextlib.ExitStack() as kept:
            kept.callback(cgroup.remove)
            channel, its_channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            kept.callback(channel.close)
            given.callback(its_channel.close)
            control, its_control = socket.socketpair()
            kept.callback(control.close)
            given.callback(its_control.close)
            lifeline, its_lifeline = socket.socketpair()
            kept.callback(lifeline.close)
            given.callback(its_lifeline.close)
            forked = await self._warm_parent.fork(
                tuple(str(folder) for folder in cgroup.folders),
                (its_channel.fileno(), its_control.fileno(), its_lifeline.fileno()),
            )
            kept.pop_all()  # the process object owns them now
        lifeline.setblocking(False)
        abilities = await self._warm_parent.abilities()
        return StandbyProcess(*forked, channel, control, lifeline, cgroup, abilities.namespaces)

    def _refill_later(self) -> None:
        if self._refilling is None or self._refilling.done():
            self._refilling = asyncio.create_task(self._refill(), name="standby process")

    async def _refill(self) -> None:
        await asyncio.sleep(REFILL_S)
        if self._ready is None and not self._closed:
            try:
                ready = await self._prepare()
            except (ProcessError, OSError) as exc:
                logger.debug("no process stands by: %s", exc)  # the next start says why
                return
            if self._ready is None and not self._closed:
                self._ready = ready
            else:
                await asyncio.to_thread(ready.discard)
