"""Calls an ASGI application in this process, with a bounded answer."""

import asyncio
import contextlib
import logging
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import unquote

from protocol.http_body import HttpRequest, HttpResponse
from web.asgi import App, Scope

logger = logging.getLogger(__name__)


class TooLarge(Exception):  # noqa: N818  # an outcome
    """The answer is larger than its bound; the application was stopped."""


class _Call:
    """One request and what has come back of its answer."""

    def __init__(self, request: HttpRequest, limit_bytes: int) -> None:
        self._request, self._limit_bytes = request, limit_bytes
        self._asked = False
        self._status = 0
        self._headers: tuple[tuple[str, str], ...] = ()
        self._body = bytearray()
        self.too_large = asyncio.Event()

    async def receive(self) -> MutableMapping[str, Any]:
        if self._asked:
            await asyncio.get_running_loop().create_future()  # there is no second part
        self._asked = True
        return {"type": "http.request", "body": self._request.body, "more_body": False}

    async def send(self, event: MutableMapping[str, Any]) -> None:
        if event["type"] == "http.response.start":
            self._status = event["status"]
            self._headers = tuple(
                (name.decode("latin-1"), value.decode("latin-1"))
                for name, value in event["headers"]
            )
        elif event["type"] == "http.response.body" and self._request.method != "HEAD":
            self._body += event.get("body", b"")
            if len(self._body) > self._limit_bytes:
                self.too_large.set()
                await asyncio.get_running_loop().create_future()  # until cancelled

    def response(self) -> HttpResponse:
        return HttpResponse(self._status or 500, self._headers, bytes(self._body))


async def call(
    app: App, request: HttpRequest, origin: str, limit_bytes: int, timeout_s: float
) -> HttpResponse:
    """Return the application's answer to a request.

    Raises:
        TooLarge: the body is larger than limit_bytes.
        TimeoutError: there was no answer in time.
    """
    state = _Call(request, limit_bytes)
    answering = asyncio.ensure_future(app(_scope(request, origin), state.receive, state.send))
    overflowing = asyncio.ensure_future(state.too_large.wait())
    try:
        done, _ = await asyncio.wait(
            (answering, overflowing), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        overflowing.cancel()
        if not answering.done():
            answering.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await answering
    if not done:
        raise TimeoutError
    if overflowing in done:
        raise TooLarge
    answering.result()
    return state.response()


def _scope(request: HttpRequest, origin: str) -> Scope:
    path, _, query = request.target.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method.upper(),
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode("latin-1", errors="replace"),
        "query_string": query.encode("latin-1", errors="replace"),
        "root_path": "",
        "headers": [
            (name.lower().encode("latin-1"), value.encode("latin-1", errors="replace"))
            for name, value in request.headers
        ],
        "client": None,
        "server": None,
        "hecate.origin": origin,
    }
