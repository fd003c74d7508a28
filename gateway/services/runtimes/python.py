"""Runs Python and JavaScript microservices: each container is a fork of the warm parent."""

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.services.granted import launch_environment
from gateway.services.limits import ServiceLimits
from gateway.services.logs.log import LOG_NAME, ContainerLog
from gateway.services.runtimes.cgroups import CgroupLimits, ContainerCgroup
from gateway.services.runtimes.container_process import ContainerProcess
from gateway.services.runtimes.isolation import IsolationPolicy, resolve_devices
from gateway.services.runtimes.liveness import Liveness
from gateway.services.runtimes.port import LOGIN_PREFIX, ProcessError, Start
from gateway.services.runtimes.python_process import ProcessResources, PythonProcess
from gateway.services.runtimes.standby import StandbyPool, StandbyProcess
from gateway.services.runtimes.uids import assign_uid, give_folder, open_code, open_socket
from gateway.services.runtimes.warm_parent import WarmParent
from gateway.storage.disk_thread import DiskThread
from microservice.control import JAVASCRIPT, LINE_LIMIT_BYTES, Launch, Login, encode_launch
from microservice.isolation.spec import HTTP_FD, Abilities, ContainerSpec
from microservice.mqtt.requests import RESPONSES

BACKLOG = 64
SCRIPT_MIB = 32  # of the evaluator, and of the front process while it carries requests
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Prepared:
    """The things on disk that a new process needs."""

    scratch: Path
    uid: int | None


class PythonRuntime:
    """Starts processes that run a service.py or an index.js."""

    name = "python"

    def __init__(
        self,
        limits: ServiceLimits,
        clock: Callable[[], float],
        state: Path,
        isolation: IsolationPolicy,
    ) -> None:
        """Start nothing yet.

        Args:
            limits: of all containers.
            clock: gives unix seconds.
            state: the folder of microservices; containers must not see the one around it.
            isolation: the settings of the gateway.
        """
        self._limits, self._clock = limits, clock
        self._hidden, self._isolation = state.parent, isolation
        self._log_thread = DiskThread("container-logs")
        self._warm_parent = WarmParent(state / "trial")
        self._pool = StandbyPool(self._warm_parent)

    def close(self) -> None:
        """End the processes that no container has, and the thread that writes logs."""
        self._pool.close()
        self._warm_parent.close()
        self._log_thread.close()

    @property
    def warm_parent_pid(self) -> int | None:
        """The process that forks containers; None while there is none."""
        return self._warm_parent.pid

    async def start(self, start: Start, on_end: Callable[[], None]) -> PythonProcess:
        """Return a process that is being prepared; ProcessError if there can be none."""
        try:
            return await self._start(start, on_end)
        except OSError as exc:
            raise ProcessError(f"cannot make a process: {exc}") from exc

    async def _start(self, start: Start, on_end: Callable[[], None]) -> PythonProcess:
        try:
            devices = _devices(start)
        except ValueError as exc:
            raise ProcessError(str(exc)) from exc
        refused = self._isolation.refused_devices(devices)
        if refused:
            names = ", ".join(refused)
            raise ProcessError(f"[services] devices of the gateway does not allow {names}")
        abilities = await self._warm_parent.abilities()
        standby = await self._pool.take()
        try:
            ready = await asyncio.to_thread(self._prepare, start, abilities, standby.cgroup)
            child, output = self._launch(start, ready, standby)
        except BaseException:
            await asyncio.to_thread(standby.discard)
            raise
        reader, writer = await asyncio.open_unix_connection(
            sock=standby.control, limit=LINE_LIMIT_BYTES
        )
        writer.write(encode_launch(_launch(start, self._limits)))
        log_mib = start.version.manifest.limits.log_mib
        log_bytes = log_mib * MIB if log_mib else self._limits.log_bytes
        log = ContainerLog(
            start.directory / LOG_NAME,
            (log_bytes, self._limits.log_bytes_per_s),
            self._log_thread,
            self._clock,
        )
        copying = asyncio.create_task(log.copy(os.fdopen(output, "rb", buffering=0)))
        liveness_s = start.version.manifest.limits.liveness_s or self._limits.liveness_s
        handed = ProcessResources(
            log,
            copying,
            ready.scratch,
            Liveness(liveness_s),
            self._limits.stop_s,
            self._required(start),
            on_end,
        )
        return PythonProcess(child, (reader, writer), start, handed)

    def _launch(
        self, start: Start, ready: _Prepared, standby: StandbyProcess
    ) -> tuple[ContainerProcess, int]:
        """Make a process that stands by a container; return it and the end of its output."""
        with contextlib.ExitStack() as given, contextlib.ExitStack() as kept:
            # not asyncio's pipe: its wait() would also wait for whoever else has the output open
            output, their_output = os.pipe()
            kept.callback(os.close, output)
            given.callback(os.close, their_output)
            http = given.enter_context(_listen(start.http_socket))
            kept.callback(start.http_socket.unlink, missing_ok=True)
            child = standby.launch(self._spec(start, ready), (http.fileno(), their_output))
            kept.pop_all()  # the process owns them now
        return child, output

    def _prepare(self, start: Start, abilities: Abilities, cgroup: ContainerCgroup) -> _Prepared:
        """Set a container's limits, make its folders, give it what it may read; blocks."""
        limits = start.version.manifest.limits
        cgroup.set_limits(CgroupLimits(_memory_mib(start), limits.cpu, limits.processes))
        directory = start.directory
        scratch = directory / "tmp" / secrets.token_hex(8)
        data = directory / "data"
        for folder in (data, scratch):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / LOG_NAME).touch(mode=0o600)
        uid = None
        if abilities.uids:
            uid = assign_uid(directory, self._isolation.uids)
            os.chown(scratch, uid, uid)
            open_code(start.version.code)
            open_socket(start.broker_socket)
            if start.gateway_socket is not None:  # it speaks for this container alone
                os.chown(start.gateway_socket, uid, uid)
        elif os.getuid() == 0 and data.stat().st_uid != 0:  # it had more rights before
            give_folder(data, 0)
        return _Prepared(scratch, uid)

    def _spec(self, start: Start, ready: _Prepared) -> ContainerSpec:
        limits = start.version.manifest.limits
        data = str(start.directory / "data")
        return ContainerSpec(
            name=start.info.container_id,
            data=data,
            scratch=str(ready.scratch),
            state=str(self._hidden),
            code=str(start.version.code),
            sockets=_sockets(start),
            environment=_environment(data, str(ready.scratch)),
            uid=ready.uid,
            memory_mib=_memory_mib(start),
            processes=limits.processes,
            open_files=limits.open_files,
            required=self._required(start),
            devices=_devices(start),
        )

    def _required(self, start: Start) -> tuple[str, ...]:
        return self._isolation.required(start.version.manifest.isolation.require)


def _devices(start: Start) -> tuple[str, ...]:
    return resolve_devices(start.version.manifest.isolation.devices, start.settings)


def _memory_mib(start: Start) -> int:
    """Return the memory of all processes of a container.

    For JavaScript memory_mib is that of one request.
    """
    more = SCRIPT_MIB if start.version.runtime == JAVASCRIPT else 0
    return start.version.manifest.limits.memory_mib + more


def _sockets(start: Start) -> tuple[str, ...]:
    paths = (start.broker_socket, start.gateway_socket)
    return tuple(str(path) for path in paths if path is not None)


def _launch(start: Start, limits: ServiceLimits) -> Launch:
    manifest = start.version.manifest
    login = Login(
        str(start.broker_socket),
        f"{LOGIN_PREFIX}{start.info.container_id}",
        start.password.reveal(),
    )
    return Launch(
        code=str(start.version.code),
        http_fd=HTTP_FD,
        info=start.info,
        runtime=start.version.runtime,
        env=launch_environment(manifest, start.version.runtime, start.version.env),
        login=login if manifest.mqtt.subscribe or manifest.mqtt.publish or start.stale else None,
        publish=(*manifest.mqtt.publish, RESPONSES),
        stale=start.stale,
        memory_mib=manifest.limits.memory_mib,
        handler_s=manifest.limits.handler_s or limits.handler_s,
        stop_s=limits.stop_s * 0.8,  # leave the last part to its interpreter
        drain_s=manifest.limits.stop_s or limits.drain_s,
        concurrency=limits.concurrency,
        queue_limit=limits.queue,
        store_mib=manifest.limits.store_mib or limits.store_bytes // MIB,
        settings=start.settings,
        secrets={name: secret.reveal() for name, secret in start.secrets.items()},
        gateway_socket=str(start.gateway_socket or ""),
        has_proxy=manifest.network.is_declared and start.version.runtime == PythonRuntime.name,
        forward={name: str(address) for name, address in manifest.network.forward.items()},
        retry_tries=manifest.retry.tries,
        retry_first_s=manifest.retry.first_delay_s,
        retry_max_s=manifest.retry.max_delay_s,
        echo=manifest.mqtt.echo,
    )


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _environment(data: str, scratch: str) -> dict[str, str]:
    environment = {
        "PATH": os.defpath,
        "HOME": data,
        "TMPDIR": scratch,
        "LANG": "C.UTF-8",
        "MALLOC_ARENA_MAX": "1",  # as the warm parent has it
    }
    return environment | {name: os.environ[name] for name in ("TZ",) if name in os.environ}
