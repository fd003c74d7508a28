"""Runs the handlers of HTTP requests and WebSockets, as an ASGI application."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any

from microservice.errors import (
    HangupError,
    HttpError,
    OutboundError,
    OutboundTimeoutError,
    ServiceError,
)
from microservice.handling import HandlerLimits, ServiceCounters
from microservice.http.scopes import headers_of, levels_of, query_of
from microservice.http.sockets import SocketApp
from microservice.memory import explain_memory, is_out_of_memory
from microservice.telemetry.trace import PARENT, STATE, continue_trace
from microservice.triggers.registry import HttpRoute, SocketRoute
from microservice.web import Receive, Request, Response, Scope, Send, problem

logger = logging.getLogger(__name__)

PROMPT_S = 0.02  # a handler that answers sooner does not watch its caller


class App:
    """Finds the handler of a request and sends its result."""

    def __init__(
        self,
        routes: Sequence[HttpRoute],
        sockets: Sequence[SocketRoute],
        counters: ServiceCounters,
        limits: HandlerLimits,
    ) -> None:
        self._routes, self._counters, self._limits = tuple(routes), counters, limits
        self._sockets = SocketApp(sockets, counters)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; its handler's faults are answered with 500 and logged."""
        if scope["type"] not in ("http", "websocket"):
            raise ValueError(f"cannot serve {scope['type']}")
        serve = self._serve_request if scope["type"] == "http" else self._sockets
        headers = headers_of(scope)
        with continue_trace(headers.get(PARENT), headers.get(STATE)):
            await serve(scope, receive, send)

    async def _serve_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = _Body(scope, receive)
        name = f"{scope['method']} {scope['path']}"
        try:
            response = await self._answer(scope, body)
            await _send_response(response, body, send)
        except HangupError:
            logger.debug("%s: the client hung up", name)
        except Exception:
            self._counters.failed += 1  # in the middle of a stream: only closing is left
            raise
        else:
            self._counters.handled += 1

    async def _answer(self, scope: Scope, body: "_Body") -> Response:
        request_and_route = self._find(scope, body)
        if isinstance(request_and_route, Response):
            return request_and_route
        request, route = request_and_route
        try:
            async with asyncio.timeout(self._limits.handler_s):
                result = await _while_caller_waits(route.handler(request), body)
            return result if isinstance(result, Response) else Response(result)
        except HttpError as exc:
            return problem(exc.status, exc.detail)
        except HangupError:
            raise
        except TimeoutError:
            logger.error("cannot answer %s %s: timed out", request.method, request.path)  # noqa: TRY400  # the place of the cancellation means nothing
            self._counters.failed += 1
            return problem(504, f"cannot answer: took longer than {self._limits.handler_s:g} s")
        except Exception as exc:
            logger.exception("cannot answer %s %s", request.method, request.path)
            self._counters.failed += 1
            return self._describe(exc)

    def _describe(self, exc: Exception) -> Response:
        """Return the answer of a handler that failed; it names no target of the service."""
        if is_out_of_memory(exc):
            return problem(500, f"cannot answer: {explain_memory(self._limits.memory_mib, exc)}")
        if isinstance(exc, OutboundError):
            status = 504 if isinstance(exc, OutboundTimeoutError) else 502
            why = "a service that it needs does not answer"
            return problem(status, f"cannot answer: {why}, see the container's log")
        return problem(500, "cannot answer: the handler failed, see the container's log")

    def _find(self, scope: Scope, body: "_Body") -> tuple[Request, HttpRoute] | Response:
        levels, allowed = levels_of(scope), []
        for route in self._routes:
            parts = route.template.match(levels)
            if parts is None:
                continue
            if scope["method"] in (route.method, "HEAD" if route.method == "GET" else ""):
                return _request(scope, parts, body), route
            allowed.append(route.method)
        if not allowed:
            return problem(404, f"cannot find {scope['path']}")
        response = problem(405, f"cannot {scope['method']} {scope['path']}")
        response.headers["allow"] = ", ".join(allowed)
        return response


async def _while_caller_waits(handling: Awaitable[Any], body: "_Body") -> Any:
    """Return a handler's result; cancel it, with HangupError, when the caller hangs up before."""
    handler = asyncio.ensure_future(_contain_exit(handling))
    gone: asyncio.Future[None] | None = None
    try:
        await asyncio.wait({handler}, timeout=PROMPT_S)
        if not handler.done():
            gone = asyncio.ensure_future(body.hung_up())
            await asyncio.wait({handler, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not handler.done():
                raise HangupError("cannot answer: the client hung up")
        if handler.cancelled():
            raise ServiceError("the handler did not end: what it awaited was cancelled")
        return handler.result()
    finally:
        ending = [task for task in (handler, gone) if task is not None and not task.done()]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)


async def _contain_exit(handling: Awaitable[Any]) -> Any:
    """Return a handler's result; sys.exit() in it ends the request, not the service."""
    try:
        return await handling
    except SystemExit as exc:
        raise ServiceError(f"the handler called sys.exit({exc.code!r})") from exc


class _Body:
    """The body of a request; also detects that the client hangs up."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        names = {name for name, _ in scope["headers"]}
        self._receive = receive
        self.complete = asyncio.Event()
        if not names & {b"content-length", b"transfer-encoding"}:
            self.complete.set()

    async def chunks(self) -> AsyncIterator[bytes]:
        while not self.complete.is_set():
            event = await self._receive()
            if event["type"] == "http.disconnect":
                raise HangupError("cannot read body: the client hung up")
            if not event.get("more_body", False):
                self.complete.set()
            if event.get("body"):
                yield event["body"]

    async def hung_up(self) -> None:
        """Return when the client has hung up; never before the body was read."""
        await self.complete.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


def _request(scope: Scope, parts: dict[str, str], body: _Body) -> Request:
    return Request(
        method=scope["method"],
        path=scope["path"],
        parts=parts,
        query=query_of(scope),
        headers=headers_of(scope),
        source=body.chunks(),
    )


async def _send_response(response: Response, body: _Body, send: Send) -> None:
    headers = response.headers
    if isinstance(response.body, bytes):
        headers = {"content-length": str(len(response.body))} | headers
    await send(
        {
            "type": "http.response.start",
            "status": response.status,
            "headers": [(n.encode("latin-1"), v.encode("latin-1")) for n, v in headers.items()],
        }
    )
    if isinstance(response.body, bytes):
        await send({"type": "http.response.body", "body": response.body})
        return
    sending = asyncio.ensure_future(_send_stream(response.body, send))
    watching = asyncio.ensure_future(body.hung_up())
    try:
        await asyncio.wait({sending, watching}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        watching.cancel()
        if not sending.done():
            sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending  # its fault, if any, ends the connection: the status is already sent


async def _send_stream(chunks: AsyncIterator[bytes | str], send: Send) -> None:
    try:
        async for chunk in chunks:
            data = chunk.encode() if isinstance(chunk, str) else chunk
            await send({"type": "http.response.body", "body": data, "more_body": True})
            await asyncio.sleep(0)  # send() does not wait once the client is gone
        await send({"type": "http.response.body"})
    finally:
        close = getattr(chunks, "aclose", None)  # generators have it, iterators need not
        if close is not None:
            await close()
