"""Answers every request that fails with a problem document (RFC 9457)."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from cloud.errors import ProblemError, StoreError
from web import SafeJsonResponse
from web.problems import MEDIA_TYPE
from web.responses import problem_response as web_problem_response

logger = logging.getLogger(__name__)

SCHEMA = {
    "title": "Problem",
    "description": "RFC 9457 problem document",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What went wrong, and what to do"},
        "error": {"type": "string", "description": "At token endpoints: OAuth 2.0's error code"},
        "errors": {"type": "array", "items": {"type": "object"}},
        "reasons": {"type": "array", "items": {"type": "string"}},
    },
}


def problem_response(problem: ProblemError) -> SafeJsonResponse:
    """Return a problem as a response."""
    return web_problem_response(problem.status, problem.detail, problem.headers, **problem.extra)


def install(app: FastAPI) -> None:
    """Make an application answer with problem documents only."""

    @app.exception_handler(ProblemError)
    async def on_problem(_: Request, exc: ProblemError) -> SafeJsonResponse:
        return problem_response(exc)

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, exc: HTTPException) -> SafeJsonResponse:
        status = HTTPStatus(exc.status_code)
        return problem_response(ProblemError(status, _explain(request, status, exc), exc.headers))

    @app.exception_handler(RequestValidationError)
    async def on_invalid(_: Request, exc: RequestValidationError) -> SafeJsonResponse:
        errors = [_describe(error) for error in exc.errors()]
        first = f"{errors[0]['where']}: {errors[0]['why']}" if errors else "malformed"
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        return problem_response(
            ProblemError(status, f"cannot read request: {first}", errors=errors)
        )

    @app.exception_handler(ClientDisconnect)
    async def on_disconnect(_: Request, exc: ClientDisconnect) -> SafeJsonResponse:
        logger.debug("a caller disconnected: %s", exc)
        return problem_response(
            ProblemError(HTTPStatus.BAD_REQUEST, "cannot read request: it ended early")
        )

    @app.exception_handler(UnicodeError)
    async def on_text(_: Request, _exc: UnicodeError) -> SafeJsonResponse:
        # A form chooses its charset, and some charsets make texts that UTF-8 does not have.
        return problem_response(
            ProblemError(HTTPStatus.BAD_REQUEST, "cannot read request: a text is not Unicode")
        )

    @app.exception_handler(StoreError)
    async def on_store(_: Request, exc: StoreError) -> SafeJsonResponse:
        logger.error("%s", exc)
        return problem_response(
            ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE, "cannot serve: the store does not work now"
            )
        )

    @app.exception_handler(Exception)
    async def on_bug(_: Request, exc: Exception) -> SafeJsonResponse:
        logger.error("a request failed", exc_info=exc)
        return problem_response(
            ProblemError(
                HTTPStatus.INTERNAL_SERVER_ERROR, "cannot serve: internal error, see the log"
            )
        )


def describe_in(document: dict[str, Any]) -> dict[str, Any]:
    """Return an OpenAPI document in which errors are problem documents, as they are."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = SCHEMA
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path in document.get("paths", {}).values():
        for operation in path.values():
            responses = operation["responses"]
            for status in [s for s in responses if s.startswith(("4", "5"))]:
                responses[status]["content"] = content
            responses["default"] = {"description": "Any other problem", "content": content}
    return document


def _explain(request: Request, status: HTTPStatus, exc: HTTPException) -> str:
    if status is HTTPStatus.NOT_FOUND:
        return f"cannot find {request.url.path}"
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        return f"cannot {request.method} {request.url.path}"
    return f"cannot serve: {exc.detail}"


def _describe(error: Mapping[str, Any]) -> dict[str, str]:
    # The input is left out: it may hold a password or token.
    return {"where": ".".join(str(part) for part in error["loc"]), "why": str(error["msg"])}
