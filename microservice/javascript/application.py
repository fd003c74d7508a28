"""Serves a JavaScript container's HTTP requests and WebSockets, as an ASGI application."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from microservice.errors import HangupError, HttpError
from microservice.handling import ServiceCounters
from microservice.javascript.exchange import RuntimeParts, ScriptExchange, ScriptRequest
from microservice.javascript.header_rule import is_json
from microservice.telemetry.trace import PARENT, STATE, continue_trace
from microservice.web import BODY_LIMIT_BYTES, Receive, Response, Scope, Send, problem

logger = logging.getLogger(__name__)

WAITING = 64  # requests that wait for a child
TRIGGER_PATH = "/mqtt"


class ScriptApplication:
    """Answers requests by the handler of index.js, a bounded number at once."""

    def __init__(
        self,
        parts: RuntimeParts,
        slots: asyncio.Semaphore,
        counters: ServiceCounters,
        *,
        concurrency: int,
        has_triggers: bool,
    ) -> None:
        self._parts, self._slots, self._counters = parts, slots, counters
        self._has_triggers = has_triggers
        self._present, self._limit = 0, WAITING + concurrency

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or serve one WebSocket."""
        if scope["type"] == "websocket":
            await self._parts.events.serve(receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(f"cannot serve {scope['type']}")
        body = _Body(scope, receive)
        try:
            request = await self._request(scope, body)
        except HttpError as exc:
            await _send(problem(exc.status, exc.detail), send)
            return
        except HangupError:
            return
        if self._present >= self._limit:
            why = f"cannot answer: {self._present} requests are present already"
            await _send(problem(503, why), send)
            return
        self._present += 1
        headers = request.headers
        try:
            with continue_trace(headers.get(PARENT), headers.get(STATE)):
                await self._answer(request, body, send)
        finally:
            self._present -= 1

    async def _answer(self, request: ScriptRequest, body: "_Body", send: Send) -> None:
        exchange = ScriptExchange(request, self._parts, send)
        running = asyncio.ensure_future(self._run(exchange))
        watching = asyncio.ensure_future(body.hung_up())
        try:
            await asyncio.wait({running, watching}, return_when=asyncio.FIRST_COMPLETED)
            if exchange.is_answered:  # the server takes the end of an answer for a hang-up, too
                await asyncio.wait({running})
            if not running.done():
                logger.debug("%s: the client hung up", request.name)
        finally:
            for task in (running, watching):
                task.cancel()
            await asyncio.gather(running, watching, return_exceptions=True)
        if running.cancelled():
            return
        running.result()
        if exchange.faults:
            self._counters.failed += 1
        else:
            self._counters.handled += 1

    async def _run(self, exchange: ScriptExchange) -> None:
        async with self._slots:
            await exchange.run()

    async def _request(self, scope: Scope, body: "_Body") -> ScriptRequest:
        headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1") or "/"
        if self._has_triggers and scope["path"].rstrip("/") == TRIGGER_PATH:
            raise HttpError(403, f"cannot call {TRIGGER_PATH}: it is for MQTT messages only")
        query = scope["query_string"].decode("latin-1")
        url = f"{path}?{query}" if query else path
        if not is_json(headers.get("content-type", "")):
            return ScriptRequest(scope["method"], url, headers, source=body.chunks())
        text = (await body.read(BODY_LIMIT_BYTES)).decode("utf-8", "replace")
        return ScriptRequest(scope["method"], url, headers, text)


class _Body:
    """The body of a request; also detects that the client hangs up."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        names = {name for name, _ in scope["headers"]}
        self._receive = receive
        self._complete = asyncio.Event()
        if not names & {b"content-length", b"transfer-encoding"}:
            self._complete.set()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives; only once."""
        while not self._complete.is_set():
            event = await self._receive()
            if event["type"] == "http.disconnect":
                raise HangupError("cannot read body: the client hung up")
            if not event.get("more_body", False):
                self._complete.set()
            if event.get("body"):
                yield event["body"]

    async def read(self, limit_bytes: int) -> bytes:
        """Return the whole body; HttpError when it is too long."""
        whole = bytearray()
        async for chunk in self.chunks():
            whole += chunk
            if len(whole) > limit_bytes:
                raise HttpError(413, f"cannot read body: more than {limit_bytes} bytes")
        return bytes(whole)

    async def hung_up(self) -> None:
        """Return when the client has hung up; never before the body was read."""
        await self._complete.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


async def _send(response: Response, send: Send) -> None:
    body: Any = response.body
    headers = [(name.encode(), value.encode()) for name, value in response.headers.items()]
    headers.append((b"content-length", str(len(body)).encode()))
    start = {"type": "http.response.start", "status": response.status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body})
