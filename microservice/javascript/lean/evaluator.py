"""Evaluates index.js once and forks a child for each request; single-threaded and lean.

The front starts it with a socket. Each message on that socket is whole (SOCK_SEQPACKET):

    front                        evaluator
    settings, as JSON        →
                             ←   loaded; or failed, with the reason
    fork <id>, with a socket →
    kill <id>                →
                             ←   ended <id> <status of waitpid>
"""

import ctypes
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from typing import Any

from microservice.javascript.lean.channel import Channel, ClosedError
from microservice.javascript.lean.engine import ENTRY_FILE, ERRORS, Engine, explain
from microservice.javascript.lean.run import EngineClock, Functions, ScriptRun

PRELUDE = ("errors", "core", "globals", "buffer", "crypto", "url", "context", "exchange")
MESSAGE_BYTES = 512 * 1024  # the settings hold the environment
LIBRARY_BYTES = 6 * 1024 * 1024  # the interpreter's needs on top of a script's ceiling
LINES_LIMIT = 15_000  # characters of the log while index.js is being loaded
JOBS_LIMIT = 100_000  # of promises while index.js is being loaded
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_FOLDER = __file__.rpartition("/")[0]
_LIBC = ctypes.CDLL(None)  # opened once: each child needs it


def main() -> None:
    """Serve until the front closes the socket."""
    _die_with_parent(os.getppid())
    control = socket.socket(fileno=int(sys.argv[1]))
    settings = json.loads(control.recv(MESSAGE_BYTES))
    try:
        evaluator = _Evaluator(settings, control)
    except (OSError, ValueError, RuntimeError, MemoryError) as exc:
        control.send(b"failed " + str(exc).encode()[:4000])
        return
    lines = evaluator.lines if len(evaluator.lines) < LINES_LIMIT else "[]"
    control.send(f"loaded {lines}".encode())
    evaluator.serve()


class _Evaluator:
    """The process that has evaluated index.js."""

    def __init__(self, settings: dict[str, Any], control: socket.socket) -> None:
        self._control = control
        self._limit_s = float(settings["limit_s"])
        self._backstop_s = float(settings["backstop_s"])
        memory_bytes = int(settings["memory_bytes"])
        clock = EngineClock(time.monotonic() + float(settings["load_s"]))
        engine = Engine(memory_bytes, clock.is_over)
        try:
            self._child, self.lines = _load(engine, clock, settings, memory_bytes)
        except ERRORS as exc:
            raise ValueError(_explain(engine, settings, explain(exc))) from exc
        clock.deadline = float("inf")
        pages = int(_read("/proc/self/statm").split()[0])
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = pages * resource.getpagesize() + memory_bytes + LIBRARY_BYTES
        self._address_space = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        self._children: dict[int, str] = {}  # process id: id of the front
        self._wake, self._woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def serve(self) -> None:
        """Fork children until the front closes the socket."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        gc.collect()
        gc.freeze()
        gc.disable()
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == self._wake:
                    os.read(self._wake, 4096)
                    self._reap()
                elif not self._command():
                    return

    def _command(self) -> bool:
        try:
            message, descriptors, _, _ = socket.recv_fds(self._control, 64, 1)
        except ConnectionResetError:  # the front has ended and did not read how the last child did
            return False
        command, _, name = message.decode().partition(" ")
        if command == "fork" and descriptors:
            self._fork(name, socket.socket(fileno=descriptors[0]))
        elif command == "kill":
            for pid, child in self._children.items():
                if child == name:
                    os.kill(pid, signal.SIGKILL)  # not reaped yet: the id is nobody else's
        return bool(message)

    def _fork(self, name: str, sock: socket.socket) -> None:
        try:
            pid = os.fork()
        except OSError:  # too many processes, or no memory: the front sees the socket close
            sock.close()
            self._tell_end(name, 255 << 8)
            return
        if pid:
            self._children[pid] = name
            sock.close()
            return
        try:
            self._become_child()
            self._child.run(Channel(sock), self._limit_s, self._backstop_s)
        except ClosedError:
            pass  # the client has hung up
        except Exception:  # noqa: BLE001  # a fault of this package: nobody else would show it
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(0)

    def _become_child(self) -> None:
        _die_with_parent(_EVALUATOR_PID[0])
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._control.close()
        os.close(self._wake)
        os.close(self._woken)
        resource.setrlimit(resource.RLIMIT_AS, (self._address_space, self._address_space))

    def _reap(self) -> None:
        while self._children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self._tell_end(self._children.pop(pid, ""), status)

    def _tell_end(self, name: str, status: int) -> None:
        try:
            self._control.send(f"ended {name} {status}".encode())
        except OSError:
            os._exit(1)  # the front is gone


def _load(
    engine: Engine, clock: EngineClock, settings: dict[str, Any], memory_bytes: int
) -> tuple[ScriptRun, str]:
    """Run the prelude and index.js; return what answers requests, and the log so far.

    The errors of the engine tell what is wrong.
    """
    holder: list[ScriptRun] = []
    engine.add_host("__host", lambda kind, text: holder[0].host(kind, text))
    for name in PRELUDE:
        engine.evaluate(_read(f"{_FOLDER}/prelude/{name}.js").decode(), f"hecate:{name}.js")
    engine.collect_rejections("__rejected")
    take = engine.take_function
    take("__settings")(json.dumps(settings["shared"]))
    loaded, check = take("__loaded"), take("__check")
    functions = Functions(*(take(f"__{name}") for name in Functions._fields))
    source = _read(f"{settings['code']}/{ENTRY_FILE}").decode("utf-8-sig", "replace")
    engine.evaluate(source, ENTRY_FILE)
    holder.append(ScriptRun(engine, functions, clock, memory_bytes))
    for _ in range(JOBS_LIMIT):
        if not engine.run_job():
            break
    why = check()
    if why:
        raise ValueError(why)
    lines = str(loaded())
    engine.forget_rejections()
    engine.collect_garbage()
    return holder[0], lines


def _explain(engine: Engine, settings: dict[str, Any], text: str) -> str:
    """Return why index.js cannot be loaded: the reason, then the stack."""
    message, _, stack = text.partition("\n")
    if engine.interrupted_at is not None:
        stack = stack if ENTRY_FILE in stack else engine.interrupted_at
        message = f"time limit of {settings['load_s']:g} s"
    elif "out of memory" in message or message == "null":
        message = f"out of memory: it needs more than {settings['memory_bytes'] >> 20} MiB"
    return f"{message}\n{stack}"


def _read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123  # pathlib is 0.7 MiB in each child
        return file.read()


_EVALUATOR_PID = [os.getpid()]


def _die_with_parent(parent: int) -> None:
    """End this process when its parent ends, which may have happened already."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    main()
