"""Controls one process of the Python runtime from the gateway."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.services.logs.log import ContainerLog
from gateway.services.runtimes.container_process import ContainerProcess
from gateway.services.runtimes.isolation import explain_missing
from gateway.services.runtimes.liveness import REPORTS_PER_S, Liveness, ReportLimiter
from gateway.services.runtimes.port import ProcessError, Start
from gateway.storage.trees import remove_tree
from microservice.control import (
    Alive,
    Command,
    Counts,
    Doing,
    Failed,
    Measured,
    Paused,
    Prepared,
    Ready,
    Report,
    SettingsChange,
    decode_report,
    encode_command,
)
from microservice.errors import ControlError
from microservice.isolation.findings import Isolation
from microservice.memory import explain_memory

if TYPE_CHECKING:
    from microservice.telemetry.samples import MetricSample

logger = logging.getLogger(__name__)

OUTPUT_END_S = 1.0  # for bytes that are still in the pipes when the process is gone
TRACE_S = 0.5  # for a blocked process to write where it is blocked
EXPLAINING_LINES = 5  # of its output, when it does not become ready
BLOCKED_HINT = "a handler must await, or use asyncio.to_thread"


@dataclass(frozen=True, slots=True)
class ProcessResources:
    """The resources that a runtime gives to a process."""

    log: ContainerLog
    copying: asyncio.Task[None]  # of its output into the log
    scratch: Path  # for temporary files of this process alone
    liveness: Liveness
    stop_s: float
    required: tuple[str, ...]  # findings of the probe without which it must not run
    on_end: Callable[[], None]


class PythonProcess:
    """One process. It is not trusted: its reports are checked."""

    def __init__(
        self,
        child: ContainerProcess,
        control: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        start: Start,
        given: ProcessResources,
    ) -> None:
        self.http_socket: Path = start.http_socket
        self.password = start.password
        self.subscribe: tuple[str, ...] = ()
        self.counts = Counts()
        self.samples: tuple[MetricSample, ...] = ()
        self.isolation: Isolation | None = None
        self.ended = ""
        self.pid = child.pid
        self._child, self._code, self._given = child, start.version.code, given
        self._memory_mib = start.version.manifest.limits.memory_mib
        self._reader, self._writer = control
        self._reported_error = ""  # its own report of a failure
        self._step = "being isolated"
        self._blocked, self._limiter = False, ReportLimiter()
        self._dead, self._gone = asyncio.Event(), asyncio.Event()  # ended; nothing is left of it
        self._reports: dict[type[Report], asyncio.Future[None]] = {}
        self._prepared = self._expect(Prepared)
        self._asking: asyncio.Task[None] | None = None
        self._watching = asyncio.create_task(self._watch(), name=f"watch {child.pid}")

    async def prepared(self) -> None:
        """Return when the code is loaded and HTTP is served."""
        await self._prepared

    async def go(self) -> None:
        """Let it join the broker; return when its subscriptions are acknowledged."""
        await self._ask(Command.GO, Ready)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_liveness(), name=f"ask {self.pid}")

    async def pause(self) -> None:
        """Make it leave the broker, its session kept."""
        await self._ask(Command.PAUSE, Paused)

    def retire(self) -> None:
        """Tell it that another process has taken over: it publishes nothing any more."""
        self._writer.write(encode_command(Command.RETIRE))

    async def responds(self, within_s: float) -> bool:
        """Return whether it answers a control message within so long."""
        expected = self._reports.get(Alive) or self._expect(Alive)
        self._writer.write(encode_command(Command.PING))
        await asyncio.wait({expected}, timeout=within_s)
        return expected.done() and expected.exception() is None

    def change_settings(self, settings: Mapping[str, Any]) -> None:
        """Tell it its new settings."""
        self._writer.write(encode_command(SettingsChange(settings)))

    async def stop(self) -> None:
        """End it: gently, then by force."""
        self._writer.write(encode_command(Command.STOP))
        try:
            async with asyncio.timeout(self._given.stop_s):
                await self._gone.wait()
        except TimeoutError:
            logger.warning("process %d does not stop: killing it", self.pid)
            await self._child.kill()
            await self._gone.wait()
        await self._watching

    def explain_wait(self) -> str:
        """Return its last step, with the end of its output."""
        lines = self._given.log.last_lines(EXPLAINING_LINES)
        output = "; its last output: " + " | ".join(lines) if lines else "; it printed nothing"
        return f"it was {self._step}{output}"

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

    async def _ask_liveness(self) -> None:
        liveness = self._given.liveness
        while liveness.ask():
            self._writer.write(encode_command(Command.PING))
            await asyncio.sleep(liveness.interval_s)
        self._blocked = True
        self._child.abort()  # faulthandler writes the stack
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TRACE_S):
                await self._dead.wait()
        if not self._dead.is_set():
            await self._child.kill()

    async def _watch(self) -> None:
        """Read its reports until it is gone; then note the reason."""
        # not until the control socket closes: a child of its own may keep that open
        reading = asyncio.create_task(self._read_reports(), name=f"read {self.pid}")
        status = await self._child.wait()
        self._dead.set()
        killed_for_memory = await self._child.release()
        await asyncio.wait({reading, self._given.copying}, timeout=OUTPUT_END_S)
        for task in (reading, self._given.copying):
            task.cancel()
        await asyncio.gather(reading, self._given.copying, return_exceptions=True)
        self._writer.close()
        self.http_socket.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # the gateway's next start removes the rest
            await asyncio.to_thread(remove_tree, self._given.scratch)
        if self._asking is not None:
            self._asking.cancel()
        self.ended = self._reported_error or self._explain(status, killed_for_memory)
        self._fail_expected()
        self._gone.set()
        self._given.on_end()

    def _explain(self, status: int, killed_for_memory: int) -> str:
        log = self._given.log
        if self._blocked:
            where = log.blocked_at(self._code)
            how = f"it answered no control message for {self._given.liveness.bound_s:g} s"
            return f"{how}{f' (blocked in {where})' if where else ''}: {BLOCKED_HINT}"
        if killed_for_memory and status == -signal.SIGKILL:
            return f"the kernel ended it: {explain_memory(self._memory_mib)}"
        if status < 0:
            how = f"it was ended by {signal.Signals(-status).name}"
        else:
            how = f"it exited with status {status}"
        if killed_for_memory:
            how += f" after the kernel ended {killed_for_memory} of its processes (memory_mib)"
        return ": ".join([how, *log.last_lines(1)])

    async def _read_reports(self) -> None:
        try:
            while line := await self._reader.readline():
                self._note(decode_report(line))
        except (ControlError, ValueError) as exc:  # ValueError: a line beyond the limit
            self._reported_error = f"it breaks the control protocol: {exc}"
            await self._child.kill()
        except ConnectionError:
            logger.debug("process %d is gone", self.pid)

    def _note(self, report: Report) -> None:
        if not self._limiter.admit(asyncio.get_running_loop().time()):
            raise ControlError(f"more than {REPORTS_PER_S} reports in a second")
        self._given.liveness.answered()
        match report:
            case Counts():
                self.counts = report
            case Measured(samples):
                self.samples = samples
            case Failed(error):
                self._reported_error = self._reported_error or error
            case Isolation():
                self._note_isolation(report)
            case Prepared(subscribe):
                self.subscribe = subscribe
                self._step = "waiting for its turn"
            case Doing(step):
                self._step = step
        expected = self._reports.pop(type(report), None)
        if expected is not None and not expected.done():
            expected.set_result(None)

    def _fail_expected(self) -> None:
        for expected in self._reports.values():
            if not expected.done():
                expected.set_exception(ProcessError(self.ended))
                expected.exception()  # an await is possible, not required
        self._reports.clear()

    def _note_isolation(self, found: Isolation) -> None:
        """Keep the findings; a second report comes from the developer's code, which may lie."""
        if self.isolation is not None:
            raise ControlError("isolation is reported once, before the code is loaded")
        self.isolation = found
        missing = found.missing(self._given.required)
        if missing:
            self._reported_error = explain_missing(found, missing)
