"""Answers one request in a forked child: runs the handler, its timers and its promises."""

import base64
import json
import os
import resource
import signal
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from microservice.javascript.lean.channel import Channel, ClosedError
from microservice.javascript.lean.engine import ERRORS, Engine, explain
from microservice.javascript.lean.frames import ANSWER, ASK, DO, FRAME_LIMIT_BYTES

FINISH_S = 0.2  # for the front to read the last frames
EXPLAINING_S = 0.1  # for the prelude to tell what it waited for when the time was over
FINISHED, UNANSWERED, FAILED, ANY = -2, -3, -4, -1
GOING_ON = ("uncaught", "rejection")  # faults that do not end the request
FAULTS_LIMIT = 20  # of these are told
JOBS_A_LOOK = 64  # at the clock
RANDOM, RANDOM_LIMIT = "#", 65536
CEILING_SHARE = 0.6  # of the ceiling: beyond it, "null" means that no memory was left for an error

Function = Callable[..., object]


class Functions(NamedTuple):
    """The functions of the prelude."""

    start: Function
    status: Function
    spin: Function
    timer: Function
    deliver: Function
    failure: Function
    rejections: Function
    waits: Function
    suppressed: Function
    seed: Function


class EngineClock:
    """The time at which scripts must end; the engine asks for it while they run."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline

    def is_over(self) -> bool:
        """Return whether it has come."""
        return time.monotonic() >= self.deadline


class _EndError(Exception):
    """The request ends: why, with the stack or what was waited for."""

    def __init__(self, kind: str, text: str = "") -> None:
        super().__init__(kind)
        self.kind, self.text = kind, text


class ScriptRun:
    """One request."""

    def __init__(
        self, engine: Engine, functions: Functions, clock: EngineClock, memory_bytes: int
    ) -> None:
        self._engine, self._functions, self._clock = engine, functions, clock
        self._memory_bytes = memory_bytes
        self._channel: Channel | None = None
        self._hunt_s = 0.0
        self._events: deque[str] = deque()  # events that came before the awaited answer
        self._first_kib = 0
        self._faults = 0

    def run(self, channel: Channel, limit_s: float, backstop_s: float) -> None:
        """Answer the request that comes over the channel; return when there is nothing to do.

        Args:
            channel: to the front.
            limit_s: of time, from the request on.
            backstop_s: beyond the limit, for native code that asks no interrupt handler.
        """
        self._channel = channel
        self._hunt_s = backstop_s / 2  # for short jobs to be interrupted where they are
        self._first_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        seed = " ".join(str(int.from_bytes(os.urandom(4), "big")) for _ in range(4))
        self._functions.seed(seed)  # with the next line: what can be done before the request
        self._status()
        try:
            request = channel.receive(None)
            # its default action ends the process, whatever native code it is in
            signal.setitimer(signal.ITIMER_REAL, limit_s + backstop_s)
            self._clock.deadline = time.monotonic() + limit_s
            try:
                self._answer(channel, request or "")
            except MemoryError:
                raise _EndError("memory") from None
        except _EndError as end:
            self._clock.deadline = time.monotonic() + EXPLAINING_S
            self._tell(end.kind, end.text)
        channel.finish(time.monotonic() + FINISH_S)

    def host(self, kind: str, text: str) -> object:
        """Carry out a call of the prelude; False when the time is over. Never raises."""
        try:
            return self._host(kind, text)
        except ClosedError:
            os._exit(0)
        except MemoryError:
            return '{"error": "out of memory"}'

    def _host(self, kind: str, text: str) -> object:
        if kind == RANDOM:
            size = min(int(text), RANDOM_LIMIT)
            return base64.b64encode(os.urandom(size)).decode()
        if len(text) > FRAME_LIMIT_BYTES:
            return '{"error": "cannot pass on so much at once: at most 8 MiB"}'
        assert self._channel is not None  # it is called by handlers only
        if not self._channel.send(kind + text, self._clock.deadline):
            return False
        if kind != ASK:
            return None
        while (frame := self._channel.receive(self._clock.deadline)) is not None:
            if frame[0] == ANSWER:
                return frame[1:]
            self._events.append(frame)
        return False

    def _answer(self, channel: Channel, request: str) -> None:
        functions = self._functions
        self._run(functions.start, request[1:])
        while True:
            self._run_jobs()
            wait_ms = self._status()
            if wait_ms == FINISHED:
                break
            if wait_ms == UNANSWERED:
                raise _EndError("unanswered")
            if wait_ms == FAILED:
                self._run(functions.failure)
            due = time.monotonic() + wait_ms / 1000 if wait_ms != ANY else float("inf")
            event = self._next_event(channel, min(due, self._clock.deadline))
            if event is not None:
                self._attempt(functions.deliver, event[1:])
            elif self._clock.is_over():
                raise _EndError("time", self._waits())
            else:
                self._attempt(functions.timer)
        suppressed = functions.suppressed()
        if suppressed:
            line = f"{suppressed} more lines of this request are not written"
            self.host(DO, json.dumps({"op": "log", "level": "warning", "text": line}))

    def _next_event(self, channel: Channel, deadline: float) -> str | None:
        return self._events.popleft() if self._events else channel.receive(deadline)

    def _status(self) -> int:
        status = self._functions.status()
        return status if isinstance(status, int) else FINISHED

    def _run(self, function: Function, *arguments: str) -> None:
        """Call a function whose error ends the request."""
        try:
            function(*arguments)
        except ERRORS as exc:
            raise self._end(explain(exc)) from None
        self._check_time()

    def _attempt(self, function: Function, *arguments: str) -> None:
        """Call a function whose error does not end the request, if it waits for something else."""
        try:
            function(*arguments)
        except ERRORS as exc:
            end = self._end(explain(exc))
            if end.kind != "error":
                raise end from None
            self._tell("uncaught", end.text)
        self._check_time()

    def _run_jobs(self) -> None:
        """Run what promises have to do, until nothing is left."""
        engine, clock, jobs, vain = self._engine, self._clock, 0, 0
        try:
            while engine.run_job():
                jobs += 1
                self._check_time()
                if engine.vain > vain:
                    # the engine asks at each 10,000th call or turn of a loop: where jobs are all
                    # alike always at the same place; some turns more move it
                    vain = engine.vain
                    self._functions.spin(os.urandom(1)[0])
                # a job too short to be interrupted where it is
                if not jobs % JOBS_A_LOOK and time.monotonic() >= clock.deadline + self._hunt_s:
                    raise _EndError("time")
        except ERRORS as exc:
            raise self._end(explain(exc)) from None
        if engine.has_rejections:
            for text in json.loads(str(self._functions.rejections())):
                self._tell("rejection", text)
            engine.forget_rejections()

    def _check_time(self) -> None:
        if self._engine.interrupted_at is not None:
            raise _EndError("time", self._engine.interrupted_at)

    def _end(self, text: str) -> _EndError:
        """Return the end that an error of the engine means."""
        if self._engine.interrupted_at is not None:
            at = text.partition("\n")[2]  # more exact, if the error came through to here
            return _EndError("time", at if "index.js:" in at else self._engine.interrupted_at)
        message = text.split("\n", 1)[0]
        if "out of memory" in message or (message == "null" and self._has_used_memory()):
            return _EndError("memory", text.partition("\n")[2])
        return _EndError("error", text)

    def _has_used_memory(self) -> bool:
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - self._first_kib
        return grown_kib * 1024 >= CEILING_SHARE * self._memory_bytes

    def _waits(self) -> str:
        self._clock.deadline = time.monotonic() + EXPLAINING_S
        try:
            waits = json.loads(str(self._functions.waits()))
        except ERRORS:
            return ""
        return f"waits for {', '.join(waits)}" if waits else ""

    def _tell(self, kind: str, text: str) -> None:
        self._faults += 1
        if kind in GOING_ON and self._faults > FAULTS_LIMIT:
            return
        self.host(DO, json.dumps({"op": "fault", "kind": kind, "text": text[:4000]}))
