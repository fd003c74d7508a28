"""Passes one HTTP request to a container's process and its answer back, piece by piece.

Request and answer move at the same time, so that a service can answer while it still reads.
Neither is held in memory: each side waits for the other. A client that reads nothing costs the
gateway one piece here and what the server holds to send; the rest waits in the service.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import h11

from gateway.http.problems import problem_response
from protocol.http_body import HOP_BY_HOP
from web.asgi import Receive, Scope, Send

logger = logging.getLogger(__name__)

# Bound per client that reads nothing. An asyncio stream would read 256 KiB at once.
READ_BYTES = 64 * 1024
CONNECT_RETRY_S = 0.02
HEADER_LIMIT_BYTES = 64 * 1024
CONNECT_S = 5.0

_DROPPED = frozenset(name.encode() for name in HOP_BY_HOP)
_REPLACED = frozenset(
    {b"expect", b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-prefix",
     b"x-forwarded-proto"}
)  # fmt: skip

Headers = list[tuple[bytes, bytes]]
Bounded = Callable[[], contextlib.AbstractAsyncContextManager[None]]


class _ClientGoneError(Exception):
    pass


class _ProcessGoneError(Exception):
    pass


class _StalledError(Exception):
    """A side neither sends the rest of its message nor takes bytes."""

    def __init__(self, side: str, status: int) -> None:
        super().__init__(side)
        self.status = status


class ProxyExchange:
    """One request and its answer."""

    def __init__(self, socket: Path, base: str, answer_s: float, stall_s: float) -> None:
        self._socket, self._base = socket, base
        self._answer_s, self._stall_s = answer_s, stall_s
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEADER_LIMIT_BYTES)
        self._answering = False
        self._limit = asyncio.timeout(None)

    async def carry(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, with a problem document if the process does not."""
        try:
            async with asyncio.timeout(CONNECT_S):
                process = await _connect(self._socket)
        except (OSError, TimeoutError):
            why = "cannot reach the microservice: its process is gone"
            await problem_response(502, why)(scope, receive, send)
            return
        upload = asyncio.create_task(self._upload(scope, receive, process))
        download = asyncio.create_task(self._download(process, send))
        try:
            async with self._limit:
                await asyncio.wait({upload, download}, return_when=asyncio.FIRST_COMPLETED)
                await (download if download.done() else upload)
        except _ClientGoneError:
            pass
        except TimeoutError:
            if self._answering:
                raise
            why = f"the microservice gave no answer in {self._answer_s:g} s"
            await problem_response(504, why)(scope, receive, send)
        except _StalledError as exc:
            if self._answering:  # the server closes a connection whose answer is not complete
                logger.debug("an answer is cut off: %s", exc)
            else:
                why = f"cannot carry the request: {exc}"
                await problem_response(exc.status, why)(scope, receive, send)
        except (_ProcessGoneError, h11.RemoteProtocolError, ConnectionError) as exc:
            if self._answering:  # the only way left is to cut the answer off
                raise ConnectionAbortedError(
                    f"the microservice's answer is cut off: {exc}"
                ) from exc
            why = f"cannot read the microservice's answer: {exc}"
            await problem_response(502, why)(scope, receive, send)
        finally:
            upload.cancel()
            download.cancel()
            await asyncio.gather(upload, download, return_exceptions=True)
            process.close()

    async def _upload(self, scope: Scope, receive: Receive, process: socket.socket) -> None:
        """Send the request; then wait for the client to hang up."""
        body = _Body(receive, partial(self._bounded, "the client sends nothing more of it", 408))
        headers = _request_headers(scope, self._base)
        framed = {b"content-length", b"transfer-encoding"} & {name for name, _ in headers}
        if not framed and await body.is_there():  # it came in an envelope, which has no framing
            headers.append((b"transfer-encoding", b"chunked"))
        request = h11.Request(
            method=scope["method"], target=_target(scope, self._base), headers=headers
        )
        with contextlib.suppress(ConnectionError):  # an early answer may close this direction
            await self._forward(process, self._http.send(request) or b"")
            async for piece in body.chunks():
                await self._forward(process, self._http.send(h11.Data(data=piece)) or b"")
            await self._forward(process, self._http.send(h11.EndOfMessage()) or b"")
        if not self._answering:
            self._limit.reschedule(asyncio.get_running_loop().time() + self._answer_s)
        while (await receive())["type"] != "http.disconnect":
            pass
        raise _ClientGoneError

    async def _download(self, process: socket.socket, send: Send) -> None:
        event = await self._next(process)
        while isinstance(event, h11.InformationalResponse):
            event = await self._next(process)
        if not isinstance(event, h11.Response):
            raise _ProcessGoneError("its process hung up")
        self._answering = True
        self._limit.reschedule(None)
        headers = [(name, value) for name, value in event.headers if name not in _DROPPED]
        await send({"type": "http.response.start", "status": event.status_code, "headers": headers})
        del event, headers
        while (piece := await self._piece(process)) is not None:
            await self._send_body(send, piece)
        await send({"type": "http.response.body"})

    async def _piece(self, process: socket.socket) -> bytes | None:
        """Return the next piece of the answer's body; None at its end. Keeps no copy."""
        event = await self._next(process)
        if isinstance(event, h11.EndOfMessage):
            return None
        if not isinstance(event, h11.Data):
            raise _ProcessGoneError("its process hung up")
        return bytes(event.data)

    async def _send_body(self, send: Send, piece: bytes) -> None:
        async with self._bounded("the client takes nothing of it", 504):
            await send({"type": "http.response.body", "body": piece, "more_body": True})

    async def _forward(self, process: socket.socket, piece: bytes) -> None:
        async with self._bounded("the microservice takes nothing of it", 504):
            await asyncio.get_running_loop().sock_sendall(process, piece)

    @contextlib.asynccontextmanager
    async def _bounded(self, why: str, status: int) -> AsyncIterator[None]:
        """Give up when one piece takes too long: it has one of the container's few places."""
        try:
            async with asyncio.timeout(self._stall_s):
                yield
        except TimeoutError as exc:
            raise _StalledError(f"{why} for {self._stall_s:g} s", status) from exc

    async def _next(self, process: socket.socket) -> Any:
        loop = asyncio.get_running_loop()
        while (event := self._http.next_event()) is h11.NEED_DATA:
            data = await loop.sock_recv(process, READ_BYTES)
            if not data and self._http.their_state is h11.SEND_RESPONSE:
                raise _ProcessGoneError("its process ended, `hecate ps` says why")
            self._http.receive_data(data)
        return event


async def _connect(path: Path) -> socket.socket:
    """Return a connection to a Unix socket, also when its backlog is full for a moment.

    Connects by itself: asyncio takes the EAGAIN of a full backlog for "in progress", and then for
    success.
    """
    with contextlib.ExitStack() as undo:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        undo.callback(connection.close)
        connection.setblocking(False)
        while True:
            try:
                connection.connect(str(path))
            except BlockingIOError:
                await asyncio.sleep(CONNECT_RETRY_S)
            else:
                undo.pop_all()
                return connection


class _Body:
    """The body of a request."""

    def __init__(self, receive: Receive, bounded: Bounded) -> None:
        self._receive, self._bounded = receive, bounded
        self._chunk = b""
        self._more = True

    async def is_there(self) -> bool:
        """Return whether it has any bytes."""
        while self._more and not self._chunk:
            await self._read()
        return bool(self._chunk)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield it piece by piece."""
        while await self.is_there():
            yield self._chunk
            self._chunk = b""

    async def _read(self) -> None:
        async with self._bounded():
            event = await self._receive()
        if event["type"] == "http.disconnect":
            raise _ClientGoneError
        self._chunk = event.get("body", b"")
        self._more = event.get("more_body", False)


def _request_headers(scope: Scope, base: str) -> Headers:
    received: Headers = [(name.lower(), value) for name, value in scope["headers"]]
    names = {name for name, _ in received}
    chunked = b"transfer-encoding" in names
    headers = [
        (name, value)
        for name, value in received
        if name not in _DROPPED
        and name not in _REPLACED
        and not (chunked and name == b"content-length")
    ]
    if chunked:
        headers.append((b"transfer-encoding", b"chunked"))
    host = next((value for name, value in received if name == b"host"), b"localhost")
    if b"host" not in names:
        headers.append((b"host", host))
    headers += [
        (b"connection", b"close"),
        (b"x-forwarded-host", host),
        (b"x-forwarded-proto", scope.get("scheme", "http").encode()),
        (b"x-forwarded-prefix", base.encode()),
    ]
    if scope.get("client"):
        headers.append((b"x-forwarded-for", str(scope["client"][0]).encode()))
    return headers


def _target(scope: Scope, base: str) -> bytes:
    raw: bytes = scope.get("raw_path") or b""
    prefix = base.encode()
    if raw.startswith(prefix) and raw[len(prefix) : len(prefix) + 1] in (b"", b"/"):
        rest = raw[len(prefix) :]
    else:  # the base itself came percent-encoded
        rest = quote(scope["path"][len(base) :]).encode()
    query: bytes = scope.get("query_string", b"")
    return (rest or b"/") + (b"?" + query if query else b"")
