"""Runs Python microservices: each container is a process that runs microservice.entry."""

import asyncio
import contextlib
import os
import secrets
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from gateway.services.limits import ServiceLimits
from gateway.services.log import LOG_NAME, ContainerLog
from gateway.services.runtimes.liveness import Liveness
from gateway.services.runtimes.port import LOGIN_PREFIX, ProcessError, Start
from gateway.services.runtimes.python_process import ProcessResources, PythonProcess
from gateway.storage.disk_thread import DiskThread
from microservice.control import LINE_LIMIT_BYTES, Launch, Login, encode_launch
from microservice.mqtt.requests import RESPONSES

BACKLOG = 64


class PythonRuntime:
    """Starts processes that run a service.py."""

    name = "python"

    def __init__(self, limits: ServiceLimits, clock: Callable[[], float]) -> None:
        self._limits, self._clock = limits, clock
        self._log_thread = DiskThread("container-logs")

    def close(self) -> None:
        """End the thread that writes logs."""
        self._log_thread.close()

    async def start(self, start: Start, on_end: Callable[[], None]) -> PythonProcess:
        """Return a process that is being prepared; ProcessError if there can be none."""
        try:
            return await self._start(start, on_end)
        except OSError as exc:
            raise ProcessError(f"cannot make a process: {exc}") from exc

    async def _start(self, start: Start, on_end: Callable[[], None]) -> PythonProcess:
        scratch = await asyncio.to_thread(_make_folders, start.directory)
        with contextlib.ExitStack() as given, contextlib.ExitStack() as kept:
            ours, theirs = socket.socketpair()
            kept.callback(ours.close)
            given.callback(theirs.close)
            # not asyncio's pipe: its wait() would also wait for whoever else has the output open
            output, their_output = os.pipe()
            kept.callback(os.close, output)
            given.callback(os.close, their_output)
            http = given.enter_context(_listen(start.http_socket))
            kept.callback(start.http_socket.unlink, missing_ok=True)
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-Iu",
                "-m",
                "microservice.entry",
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=their_output,
                stderr=their_output,
                cwd=start.directory / "data",
                env=_environment(start.directory, scratch),
                pass_fds=(theirs.fileno(), http.fileno()),
                start_new_session=True,
            )
            launch = _launch(start, self._limits, http.fileno())
            kept.pop_all()  # the process owns them now
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=LINE_LIMIT_BYTES)
        writer.write(encode_launch(launch))
        log = ContainerLog(
            start.directory / LOG_NAME,
            (self._limits.log_bytes, self._limits.log_bytes_per_s),
            self._log_thread,
            self._clock,
        )
        copying = asyncio.create_task(log.copy(os.fdopen(output, "rb", buffering=0)))
        liveness_s = start.version.manifest.limits.liveness_s or self._limits.liveness_s
        handed = ProcessResources(
            log, copying, scratch, Liveness(liveness_s), self._limits.stop_s, on_end
        )
        return PythonProcess(child, (reader, writer), start, handed)


def _launch(start: Start, limits: ServiceLimits, http_fd: int) -> Launch:
    manifest = start.version.manifest
    login = Login(
        str(start.broker_socket),
        f"{LOGIN_PREFIX}{start.info.container_id}",
        start.password.reveal(),
    )
    return Launch(
        code=str(start.version.code),
        http_fd=http_fd,
        info=start.info,
        env=dict(start.version.env),
        login=login if manifest.mqtt.subscribe or manifest.mqtt.publish or start.stale else None,
        publish=(*manifest.mqtt.publish, RESPONSES),
        stale=start.stale,
        memory_mib=manifest.limits.memory_mib,
        handler_s=manifest.limits.handler_s or limits.handler_s,
        stop_s=limits.stop_s * 0.8,  # leave the last part to its interpreter
        concurrency=limits.concurrency,
        queue_limit=limits.queue,
        store_mib=manifest.limits.store_mib,
        settings=start.settings,
        secrets={name: secret.reveal() for name, secret in start.secrets.items()},
        retry_tries=manifest.retry.tries,
        retry_first_s=manifest.retry.first_delay_s,
        retry_max_s=manifest.retry.max_delay_s,
        echo=manifest.mqtt.echo,
        gateway_socket=str(start.gateway_socket or ""),
        has_proxy=manifest.network.is_declared,
        forward={name: str(address) for name, address in manifest.network.forward.items()},
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


def _environment(directory: Path, scratch: Path) -> dict[str, str]:
    environment = {
        "PATH": os.defpath,
        "HOME": str(directory / "data"),
        "TMPDIR": str(scratch),  # no two processes have the same: it marks what they start
        "LANG": "C.UTF-8",
        # each further arena reserves 128 MiB of address space, which is what is limited
        "MALLOC_ARENA_MAX": "1",
    }
    return environment | {name: os.environ[name] for name in ("TZ",) if name in os.environ}


def _make_folders(directory: Path) -> Path:
    """Make a container's folders; return one for temporary files of this process alone."""
    scratch = directory / "tmp" / secrets.token_hex(8)
    for folder in (directory / "data", scratch):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / LOG_NAME).touch(mode=0o600)
    return scratch
