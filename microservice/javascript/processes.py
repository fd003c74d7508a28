"""Starts the evaluator and asks it for children, from the front's event loop."""

import asyncio
import contextlib
import importlib.util
import json
import logging
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from microservice.errors import ServiceError
from microservice.javascript.faults import explain_loading
from microservice.javascript.lean.frames import (
    FRAME_LIMIT_BYTES,
    HEAD_BYTES,
    encode_frame,
    frame_bytes,
)

logger = logging.getLogger(__name__)

MESSAGE_BYTES = 64 * 1024
END_S = 2.0  # for the evaluator to tell how a child has ended
RETRY_S = 0.002
_ABSENT = 255 << 8  # the status of a child that could not be forked

# Imports the modules of the lean process without the kit's own, which would double its size.
_BOOTSTRAP = """
import sys, types
package = types.ModuleType("microservice")
package.__path__ = [sys.argv[2]]
sys.modules["microservice"] = package
sys.path.append(sys.argv[3])
from microservice.javascript.lean.evaluator import main
main()
"""


@dataclass(frozen=True, slots=True)
class EvaluatorSettings:
    """The settings of index.js, and the limits of its children."""

    code: Path
    memory_bytes: int
    limit_s: float
    backstop_s: float  # beyond the limit: for native code that asks no interrupt handler
    load_s: float
    shared: Mapping[str, Any] = field(repr=False)  # env and info

    def encode(self) -> bytes:
        """Return the message that carries them."""
        values = {
            "code": str(self.code),
            "memory_bytes": self.memory_bytes,
            "limit_s": self.limit_s,
            "backstop_s": self.backstop_s,
            "load_s": self.load_s,
            "shared": self.shared,
        }
        return json.dumps(values).encode()


class FrameStream:
    """The front's end of the socket to a child, which is not trusted."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ended: asyncio.Future[int]
    ) -> None:
        self._reader, self._writer = reader, writer
        self.ended = ended

    async def read(self) -> str | None:
        """Return the next frame; None at the end."""
        try:
            size = frame_bytes(await self._reader.readexactly(HEAD_BYTES))
            if size > FRAME_LIMIT_BYTES + 1:
                raise ServiceError(f"cannot read frame of {size} bytes")
            return (await self._reader.readexactly(size)).decode("utf-8", "replace")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def send(self, kind: str, value: Any) -> None:
        """Send a value; wait while the child does not read."""
        self._writer.write(encode_frame(kind + json.dumps(value)))
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    def close(self) -> None:
        """Close the socket, which the child takes as its end."""
        self._writer.close()


@dataclass(frozen=True, slots=True)
class _Forked:
    """A child and its name on the control socket."""

    name: str
    stream: FrameStream


class EvaluatorProcess:
    """The evaluator; started again when it has ended.

    While a request is answered it forks one child in advance, which takes the next request: the
    fork and the first faults of its pages are a third of the time of an answer.
    """

    def __init__(self, settings: EvaluatorSettings) -> None:
        self._settings = settings
        self._control: socket.socket | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._children: dict[str, asyncio.Future[int]] = {}
        self._last_id = 0
        self._starting = asyncio.Lock()
        self._spare: _Forked | None = None
        self._preparing: asyncio.Task[None] | None = None
        self.early_log: list[tuple[str, str]] = []

    @property
    def pid(self) -> int:
        """The process id; 0 when there is none."""
        return self._process.pid if self._process is not None else 0

    async def start(self) -> None:
        """Start it; return when index.js is evaluated.

        Raises:
            ServiceError: index.js cannot be used; tells the line.
        """
        async with self._starting:
            if self._control is None:
                await self._start()

    async def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        loop = asyncio.get_running_loop()
        message = self._settings.encode()
        with theirs:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * len(message))
            ours.setblocking(False)
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", "-B", "-c", _BOOTSTRAP,
                str(theirs.fileno()), str(Path(__file__).parents[1]), _library_folder(),
                stdin=asyncio.subprocess.DEVNULL, pass_fds=(theirs.fileno(),),
            )  # fmt: skip
        await loop.sock_sendall(ours, message)
        answer = await _receive(ours)
        kind, _, text = answer.decode("utf-8", "replace").partition(" ")
        if kind != "loaded":
            ours.close()
            await self._process.wait()
            raise ServiceError(explain_loading(text))
        self.early_log = [(level, line) for level, line in json.loads(text)]
        self._control = ours
        self._listening = asyncio.create_task(self._listen(ours), name="evaluator")

    @contextlib.asynccontextmanager
    async def fork(self) -> AsyncIterator[FrameStream]:
        """Yield the socket of a new child, which is gone afterwards."""
        child = self._take_spare()
        if child is None and self._preparing is not None and not self._preparing.done():
            await asyncio.wait({self._preparing})  # it is on its way
            child = self._take_spare()
        child = child or await self._fork()
        try:
            if self._preparing is None or self._preparing.done():
                self._preparing = asyncio.create_task(self._prepare_spare(), name="spare child")
            yield child.stream
        finally:
            await self._end(child)

    def _take_spare(self) -> _Forked | None:
        spare, self._spare = self._spare, None
        if spare is not None and spare.stream.ended.done():
            spare.stream.close()
            spare = None
        return spare

    async def _prepare_spare(self) -> None:
        if self._spare is None:
            with contextlib.suppress(ServiceError, OSError):  # the next request tells the reason
                self._spare = await self._fork()

    async def _fork(self) -> _Forked:
        if self._control is None:
            await self.start()
        self._last_id += 1
        name = str(self._last_id)
        ours, theirs = socket.socketpair()
        ended = self._children[name] = asyncio.get_running_loop().create_future()
        try:
            with theirs:
                await self._tell(f"fork {name}", theirs)
            reader, writer = await asyncio.open_unix_connection(sock=ours)
        except BaseException:
            ours.close()
            del self._children[name]
            raise
        return _Forked(name, FrameStream(reader, writer, ended))

    async def _end(self, child: _Forked) -> None:
        ended = child.stream.ended
        child.stream.close()
        if not ended.done():
            await self._tell(f"kill {child.name}")
            await asyncio.wait({ended}, timeout=END_S)
        self._children.pop(child.name, None)

    async def stop(self) -> None:
        """End it, with its children."""
        if self._preparing is not None:
            await asyncio.gather(self._preparing, return_exceptions=True)
        if self._spare is not None:
            self._spare.stream.close()
        if self._listening is not None:
            self._listening.cancel()  # before its socket is closed
            await asyncio.gather(self._listening, return_exceptions=True)
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_S):
                    await self._process.wait()
                    return
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def _tell(self, message: str, sock: socket.socket | None = None) -> None:
        descriptors = [sock.fileno()] if sock is not None else []
        while self._control is not None:
            try:
                socket.send_fds(self._control, [message.encode()], descriptors)
            except BlockingIOError:
                await asyncio.sleep(RETRY_S)
            except OSError as exc:
                raise ServiceError("cannot run index.js: its evaluator has ended") from exc
            else:
                return

    async def _listen(self, control: socket.socket) -> None:
        while message := await _receive(control):
            _, name, status = message.decode().split(" ")
            ended = self._children.get(name)
            if ended is not None and not ended.done():
                ended.set_result(int(status))
        logger.error("the evaluator of index.js has ended; the next request starts it again")
        control.close()
        self._control = None
        for ended in self._children.values():
            if not ended.done():
                ended.set_result(_ABSENT)


async def _receive(control: socket.socket) -> bytes:
    try:
        return await asyncio.get_running_loop().sock_recv(control, MESSAGE_BYTES)
    except ConnectionError:
        return b""


def _library_folder() -> str:
    """Return the folder that holds QuickJS."""
    found = importlib.util.find_spec("_quickjs")
    if found is None or found.origin is None:
        raise ServiceError(
            "cannot run JavaScript: QuickJS is not installed; `pip install quickjs-ng`"
        )
    return str(Path(found.origin).parent)
