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
    load_s: float
    shared: Mapping[str, Any] = field(repr=False)  # env and info

    def encode(self) -> bytes:
        """Return the message that carries them."""
        values = {
            "code": str(self.code),
            "memory_bytes": self.memory_bytes,
            "limit_s": self.limit_s,
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


class EvaluatorProcess:
    """The evaluator; started again when it has ended."""

    def __init__(self, settings: EvaluatorSettings) -> None:
        self._settings = settings
        self._control: socket.socket | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._children: dict[str, asyncio.Future[int]] = {}
        self._last_id = 0
        self._starting = asyncio.Lock()
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
        stream = FrameStream(reader, writer, ended)
        try:
            yield stream
        finally:
            stream.close()
            if not ended.done():
                await self._tell(f"kill {name}")
                await asyncio.wait({ended}, timeout=END_S)
            self._children.pop(name, None)

    async def stop(self) -> None:
        """End it, with its children."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._listening is not None:
            self._listening.cancel()
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
