"""The Python runtime: each container is a process of its own that runs microservice.entry."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from gateway.services.limits import ServiceLimits
from gateway.services.log import ContainerLog
from gateway.services.runtime import LOGIN_PREFIX, ProcessError, Start
from microservice.control import (
    LINE_LIMIT_BYTES,
    Command,
    Counts,
    Failed,
    Launch,
    Login,
    Paused,
    Prepared,
    Ready,
    Report,
    decode_report,
    encode_command,
    encode_launch,
)
from microservice.errors import ControlError

logger = logging.getLogger(__name__)

BACKLOG = 64
OUTPUT_END_S = 1.0  # a grandchild may keep the output open after the process is gone


class PythonRuntime:
    """Starts processes that run a service.py."""

    name = "python"

    def __init__(self, limits: ServiceLimits) -> None:
        self._limits = limits

    async def start(self, start: Start, on_end: Callable[[], None]) -> "PythonProcess":
        """Return a process that is being prepared; ProcessError if there can be none."""
        try:
            return await self._start(start, on_end)
        except OSError as exc:
            raise ProcessError(f"cannot make a process: {exc}") from exc

    async def _start(self, start: Start, on_end: Callable[[], None]) -> "PythonProcess":
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
                cwd=_made(start.directory / "data"),
                env=_environment(start.directory),
                pass_fds=(theirs.fileno(), http.fileno()),
                start_new_session=True,
            )
            launch = _launch(start, self._limits, http.fileno())
            kept.pop_all()  # the process owns them now
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=LINE_LIMIT_BYTES)
        writer.write(encode_launch(launch))
        log = ContainerLog(
            start.directory / "output.log", self._limits.log_bytes, self._limits.log_bytes_per_s
        )
        copying = asyncio.create_task(log.copy(os.fdopen(output, "rb", buffering=0)))
        return PythonProcess(
            child, (reader, writer), (log, copying), start, (on_end, self._limits.stop_s)
        )


class PythonProcess:
    """One process, seen from the gateway. It is not trusted: what it says is checked."""

    def __init__(
        self,
        child: asyncio.subprocess.Process,
        control: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        output: tuple[ContainerLog, asyncio.Task[None]],
        start: Start,
        end: tuple[Callable[[], None], float],
    ) -> None:
        self.http_socket: Path = start.http_socket
        self.password = start.password
        self.subscribe: tuple[str, ...] = ()
        self.counts = Counts()
        self.ended = ""
        self.pid = child.pid
        self._child = child
        self._log, self._copying = output
        self._reader, self._writer = control
        self._on_end, self._stop_s = end
        self._said = ""  # why it failed, in its own words
        self._gone = asyncio.Event()
        self._reports: dict[type[Report], asyncio.Future[None]] = {}
        self._prepared = self._expect(Prepared)
        self._watching = asyncio.create_task(self._watch(), name=f"watch {child.pid}")

    async def prepared(self) -> None:
        """Return when the code is loaded and HTTP is served."""
        await self._prepared

    async def go(self) -> None:
        """Let it join the broker; return when its subscriptions are acknowledged."""
        await self._ask(Command.GO, Ready)

    async def pause(self) -> None:
        """Make it leave the broker, its session kept."""
        await self._ask(Command.PAUSE, Paused)

    async def stop(self) -> None:
        """End it: gently, then by force."""
        self._writer.write(encode_command(Command.STOP))
        try:
            async with asyncio.timeout(self._stop_s):
                await self._gone.wait()
        except TimeoutError:
            logger.warning("process %d does not stop: killing it", self.pid)
            self._kill()
            await self._gone.wait()
        await self._watching

    async def _ask(self, command: Command, answer: type[Report]) -> None:
        expected = self._expect(answer)
        self._writer.write(encode_command(command))
        await expected

    def _expect(self, report: type[Report]) -> asyncio.Future[None]:
        expected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reports[report] = expected
        if self.ended:
            self._fail_expected()
        return expected

    async def _watch(self) -> None:
        """Hear what it says until it is gone; then tell why."""
        await self._hear()
        status = await self._child.wait()
        self._kill()  # what it may have started itself
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(OUTPUT_END_S):
                await self._copying
        self._writer.close()
        self.http_socket.unlink(missing_ok=True)
        self.ended = self._said or _explain(status, self._log.last_line())
        self._fail_expected()
        self._gone.set()
        self._on_end()

    async def _hear(self) -> None:
        try:
            while line := await self._reader.readline():
                self._note(decode_report(line))
        except (ControlError, ValueError) as exc:  # ValueError: a line beyond the limit
            self._said = f"it does not speak the control protocol: {exc}"
            self._kill()
        except ConnectionError:
            logger.debug("process %d is gone", self.pid)

    def _note(self, report: Report) -> None:
        match report:
            case Counts():
                self.counts = report
            case Failed(error):
                self._said = error
            case Prepared(subscribe):
                self.subscribe = subscribe
        expected = self._reports.pop(type(report), None)
        if expected is not None and not expected.done():
            expected.set_result(None)

    def _fail_expected(self) -> None:
        for expected in self._reports.values():
            if not expected.done():
                expected.set_exception(ProcessError(self.ended))
                expected.exception()  # whoever awaits it gets it; nobody has to
        self._reports.clear()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


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
        publish=manifest.mqtt.publish,
        stale=start.stale,
        memory_mib=manifest.limits.memory_mib,
        handler_s=limits.handler_s,
        stop_s=limits.stop_s * 0.8,  # leave the last part to its interpreter
        concurrency=limits.concurrency,
        queue_limit=limits.queue,
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


def _environment(directory: Path) -> dict[str, str]:
    environment = {
        "PATH": os.defpath,
        "HOME": str(directory / "data"),
        "TMPDIR": str(_made(directory / "tmp")),
        "LANG": "C.UTF-8",
        # each further arena reserves 128 MiB of address space, which is what is limited
        "MALLOC_ARENA_MAX": "1",
    }
    return environment | {name: os.environ[name] for name in ("TZ",) if name in os.environ}


def _made(directory: Path) -> Path:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


def _explain(status: int, last_line: str) -> str:
    if status < 0:
        how = f"it was ended by {signal.Signals(-status).name}"
    else:
        how = f"it exited with status {status}"
    return f"{how}: {last_line}" if last_line else how
