"""Passes one HTTP request to an upstream server and its answer back, piece by piece.

Request and answer move at the same time, so that a service can answer while it still reads.
Neither is held in memory: each side waits for the other. A client that reads nothing costs the
gateway one piece here and what the server holds to send; the rest waits at the upstream server.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import h11

from gateway.http.problems import problem_response
from gateway.services.proxy.headers import Headers, from_upstream, is_upgrade, switching_head
from gateway.services.proxy.streams import READ_BYTES, SocketStream, join
from web.asgi import Receive, Scope, Send
from web.server.takeover import take_over_of

logger = logging.getLogger(__name__)

HEADER_LIMIT_BYTES = 64 * 1024
SWITCHING = 101

Bounded = Callable[[], contextlib.AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class Upstream:
    """The server that a request goes to.

    Attributes:
        name: for messages, such as "the microservice".
        connect: returns a connection; raises UpstreamError or OSError.
        target: path and query.
        headers: end-to-end headers, with the framing of the body.
        loss: the message when it ends before it answers.
        problem_headers: of the problem documents that replace its answer.
        keep: takes over a connection that can carry another request; None: each carries one.
    """

    name: str
    connect: Callable[[], Awaitable[socket.socket]]
    target: bytes
    headers: Headers
    loss: str
    problem_headers: Mapping[str, str] = field(default_factory=dict)
    keep: Callable[[socket.socket], None] | None = None


@dataclass(frozen=True, slots=True)
class ExchangeLimits:
    """The times that an exchange may take, in seconds."""

    answer_s: float  # to the head of the answer, after the last byte of the request
    stall_s: float  # for one piece
    idle_s: float  # of joined connections
    connect_s: float = 5.0


class UpstreamError(Exception):
    """The upstream server cannot be reached; the message is the detail of the problem."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.headers = status, headers or {}


class _ClientGoneError(Exception):
    pass


class _UpstreamGoneError(Exception):
    pass


class _StalledError(Exception):
    """A side neither sends the rest of its message nor takes bytes."""

    def __init__(self, side: str, status: int) -> None:
        super().__init__(side)
        self.status = status


class ProxyExchange:
    """One request and its answer; `status` is that of the answer, 0 while there is none."""

    def __init__(self, upstream: Upstream, limits: ExchangeLimits) -> None:
        self.status = 0
        self._upstream, self._limits = upstream, limits
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEADER_LIMIT_BYTES)
        self._is_sent = self._is_answered = False  # wholly
        self._answering = False
        self._limit = asyncio.timeout(None)

    async def carry(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, with a problem document if the upstream server does not."""
        name = self._upstream.name
        try:
            async with asyncio.timeout(self._limits.connect_s):
                connection = await self._upstream.connect()
        except UpstreamError as exc:
            await self._fail(exc.status, str(exc), (scope, receive, send), exc.headers)
            return
        except TimeoutError:
            why = f"cannot reach {name}: no connection in {self._limits.connect_s:g} s"
            await self._fail(504, why, (scope, receive, send))
            return
        except OSError:
            why = f"cannot reach {name}: {self._upstream.loss}"
            await self._fail(502, why, (scope, receive, send))
            return
        try:
            switching = await self._exchange((scope, receive, send), connection)
            if switching is not None:
                await self._join(scope, connection, switching)
        finally:
            if self._upstream.keep is not None and self._is_over():
                self._upstream.keep(connection)
            else:
                connection.close()

    def _is_over(self) -> bool:
        """Return whether both sides have said all, and the server keeps the connection."""
        http = self._http
        return (
            self._is_sent
            and self._is_answered
            and http.our_state is h11.DONE
            and http.their_state is h11.DONE
            and http.trailing_data == (b"", False)
        )

    async def _exchange(
        self, client: tuple[Scope, Receive, Send], connection: socket.socket
    ) -> Headers | None:
        """Carry both ways; return the headers of an answer that begins a WebSocket."""
        scope, receive, send = client
        name = self._upstream.name
        upload = asyncio.create_task(self._upload(scope, receive, connection))
        download = asyncio.create_task(self._download(connection, send))
        try:
            async with self._limit:
                await asyncio.wait({upload, download}, return_when=asyncio.FIRST_COMPLETED)
                return await (download if download.done() else upload)
        except _ClientGoneError:
            logger.debug("a client has hung up before the answer of %s", name)
        except TimeoutError:
            if self._answering:
                raise
            why = f"{name} gave no answer in {self._limits.answer_s:g} s"
            await self._fail(504, why, client)
        except _StalledError as exc:
            if self._answering:  # the server closes a connection whose answer is not complete
                logger.debug("an answer is cut off: %s", exc)
            else:
                await self._fail(exc.status, f"cannot carry the request: {exc}", client)
        except h11.LocalProtocolError as exc:  # it came in an envelope, which checks less
            await self._fail(400, f"cannot carry the request: {exc}", client)
        except (_UpstreamGoneError, h11.RemoteProtocolError, ConnectionError) as exc:
            if self._answering:  # the only way left is to cut the answer off
                raise ConnectionAbortedError(f"the answer of {name} is cut off: {exc}") from exc
            await self._fail(502, f"cannot read the answer of {name}: {exc}", client)
        finally:
            upload.cancel()
            download.cancel()
            await asyncio.gather(upload, download, return_exceptions=True)
        return None

    async def _join(self, scope: Scope, connection: socket.socket, headers: Headers) -> None:
        """Let the client and the upstream server speak WebSocket."""
        take_over = take_over_of(scope)
        assert take_over is not None  # else no upgrade is requested
        near = take_over(switching_head(headers))
        far = SocketStream(connection, self._http.trailing_data[0])
        if not await join(near, far, self._limits.idle_s):
            logger.debug("a WebSocket ends: nothing moved for %g s", self._limits.idle_s)

    async def _fail(
        self,
        status: int,
        why: str,
        client: tuple[Scope, Receive, Send],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        given = {**self._upstream.problem_headers, **(headers or {})}
        await problem_response(status, why, given)(*client)

    async def _upload(self, scope: Scope, receive: Receive, connection: socket.socket) -> None:
        """Send the request; then wait for the client to hang up."""
        body = _Body(receive, partial(self._bounded, "the client sends nothing more of it", 408))
        headers = list(self._upstream.headers)
        framed = {b"content-length", b"transfer-encoding"} & {name for name, _ in headers}
        if not framed and await body.is_there():  # it came in an envelope, which has no framing
            headers.append((b"transfer-encoding", b"chunked"))
        if is_upgrade(scope) and take_over_of(scope) is not None:
            headers += [(b"connection", b"upgrade"), (b"upgrade", b"websocket")]
        elif self._upstream.keep is None:
            headers.append((b"connection", b"close"))
        request = h11.Request(method=scope["method"], target=self._upstream.target, headers=headers)
        with contextlib.suppress(ConnectionError):  # an early answer may close this direction
            await self._forward(connection, self._http.send(request) or b"")
            async for piece in body.chunks():
                await self._forward(connection, self._http.send(h11.Data(data=piece)) or b"")
            await self._forward(connection, self._http.send(h11.EndOfMessage()) or b"")
            self._is_sent = True
        if not self._answering:
            self._limit.reschedule(asyncio.get_running_loop().time() + self._limits.answer_s)
        while (await receive())["type"] != "http.disconnect":
            pass
        raise _ClientGoneError

    async def _download(self, connection: socket.socket, send: Send) -> Headers | None:
        event = await self._next(connection)
        while isinstance(event, h11.InformationalResponse):
            if event.status_code == SWITCHING:
                self._answering, self.status = True, SWITCHING
                self._limit.reschedule(None)
                return list(event.headers)
            event = await self._next(connection)
        if not isinstance(event, h11.Response):
            raise _UpstreamGoneError("it hung up")
        self._answering, self.status = True, event.status_code
        self._limit.reschedule(None)
        headers = from_upstream(event.headers)
        await send({"type": "http.response.start", "status": event.status_code, "headers": headers})
        del event, headers
        while (piece := await self._piece(connection)) is not None:
            await self._send_body(send, piece)
        await send({"type": "http.response.body"})
        self._is_answered = True
        return None

    async def _piece(self, connection: socket.socket) -> bytes | None:
        """Return the next piece of the answer's body; None at its end. Keeps no copy."""
        event = await self._next(connection)
        if isinstance(event, h11.EndOfMessage):
            return None
        if not isinstance(event, h11.Data):
            raise _UpstreamGoneError("it hung up")
        return bytes(event.data)

    async def _send_body(self, send: Send, piece: bytes) -> None:
        async with self._bounded("the client takes nothing of it", 504):
            await send({"type": "http.response.body", "body": piece, "more_body": True})

    async def _forward(self, connection: socket.socket, piece: bytes) -> None:
        if not piece:  # of an end without chunks
            return
        async with self._bounded(f"{self._upstream.name} takes nothing of it", 504):
            await asyncio.get_running_loop().sock_sendall(connection, piece)

    @contextlib.asynccontextmanager
    async def _bounded(self, why: str, status: int) -> AsyncIterator[None]:
        """Give up when one piece takes too long: it has one of the few places."""
        stall_s = self._limits.stall_s
        try:
            async with asyncio.timeout(stall_s):
                yield
        except TimeoutError as exc:
            raise _StalledError(f"{why} for {stall_s:g} s", status) from exc

    async def _next(self, connection: socket.socket) -> Any:
        loop = asyncio.get_running_loop()
        while (event := self._http.next_event()) is h11.NEED_DATA:
            data = await loop.sock_recv(connection, READ_BYTES)
            if not data and self._http.their_state is h11.SEND_RESPONSE:
                raise _UpstreamGoneError(self._upstream.loss)
            self._http.receive_data(data)
        return event


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
