"""The HTTP application: routes, limits, counting."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud import health_api, limits_api, problems
from cloud.discovery import api as discovery
from cloud.errors import ProblemError
from cloud.identity import api as identity
from cloud.identity import device_api
from cloud.metrics import Metrics
from cloud.parts import Parts
from cloud.signalling import bep_api, sep_api
from cloud.tokens import api as tokens

VERSION = "0.1.0"
BODY_LIMIT_BYTES = 64 * 1024  # forms with tokens, node records: 8 KiB at most; not the SEP
SERVICES = frozenset({"mds", "mss", "mst", "mid", "sep"})

DESCRIPTION = """\
The cloud of Hecate: discovery (mDS), signalling (mSS), tokens (mST), identity (mID).

A node gets a token with an assertion it signs (mST), registers its record (mDS) and connects to
the cloud's MQTT broker; from then on anyone can reach it under `/sep/{node_id}/…`, sealed on the
way. For bulk data it asks for a BEP (mSS). A person signs in with an ID token (mID).

Errors are problem documents (RFC 9457).
"""


def build_web(parts: Parts) -> FastAPI:
    """Return the application that serves all of the cloud's HTTP."""
    app = FastAPI(
        title="Hecate cloud",
        version=VERSION,
        description=DESCRIPTION,
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.parts = parts
    routers = [
        sep_api.router,  # first: most requests are for it, and routes are tried in order
        tokens.router,
        identity.router,
        device_api.router,
        discovery.router,
        bep_api.router,
        limits_api.router,
        health_api.router,
    ]
    if parts.config.mid.development:
        routers.append(identity.development_router)
    for router in routers:
        app.include_router(router)
    problems.install(app)
    app.add_middleware(BodyLimit, limit_bytes=BODY_LIMIT_BYTES)
    app.add_middleware(RequestCount, metrics=parts.metrics)

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = problems.describe_in(
                get_openapi(
                    title=app.title,
                    version=app.version,
                    description=app.description,
                    routes=app.routes,
                )
            )
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to change it
    return app


class BodyLimit:
    """Refuses bodies beyond a limit before they are in memory; SEP URLs have their own."""

    def __init__(self, app: ASGIApp, limit_bytes: int) -> None:
        self._app, self._limit_bytes = app, limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"].startswith("/sep/"):
            await self._app(scope, receive, send)
            return
        if _declared_length(scope) > self._limit_bytes:
            problem = ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, self._why)
            await problems.problem_response(problem)(scope, receive, send)
            return
        await self._app(scope, self._counting(receive), send)

    @property
    def _why(self) -> str:
        return f"cannot read request: more than {self._limit_bytes} bytes"

    def _counting(self, receive: Receive) -> Callable[[], Awaitable[Message]]:
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit_bytes:
                # An HTTPException passes through the body parsers, which catch all else.
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, self._why)
            return message

        return counted


class RequestCount:
    """Counts requests by service and status."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        first = scope["path"].split("/", 2)[1] if scope["path"].startswith("/") else ""
        service = first if first in SERVICES else "other"

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.requests.labels(service, str(message["status"])).inc()
            await send(message)

        await self._app(scope, receive, counted)


def _declared_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0
