"""Problem documents (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from web.responses import problem_response

__all__ = ["Problem", "add_problem_handlers", "problem_response"]


class Problem(Exception):  # noqa: N818  # the word of RFC 9457
    """An answer other than success; detail reads "cannot X: why"."""

    def __init__(
        self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers


def add_problem_handlers(app: FastAPI) -> None:
    """Turn every error of an app into a problem document."""

    @app.exception_handler(Problem)
    async def on_problem(_request: Request, exc: Problem) -> Response:
        return problem_response(exc.status, exc.detail, exc.headers)

    @app.exception_handler(HTTPException)
    async def on_http_exception(request: Request, exc: HTTPException) -> Response:
        detail = str(exc.detail)
        if detail == HTTPStatus(exc.status_code).phrase:  # starlette's own have no more to say
            detail = f"cannot {request.method} {request.url.path}: {detail.lower()}"
        return problem_response(exc.status_code, detail, exc.headers)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(_request: Request, exc: RequestValidationError) -> Response:
        first = exc.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return problem_response(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"cannot read request: {where}: {first['msg']}"
        )

    @app.exception_handler(UnicodeError)
    async def on_text(_request: Request, _exc: UnicodeError) -> Response:
        # forms choose their charset, and some of those make texts that UTF-8 does not have
        return problem_response(
            HTTPStatus.BAD_REQUEST, "cannot read request: a text is not Unicode"
        )

    @app.exception_handler(ClientDisconnect)
    async def on_hang_up(_request: Request, _exc: ClientDisconnect) -> Response:
        return problem_response(HTTPStatus.BAD_REQUEST, "cannot read request: it ended early")

    @app.exception_handler(Exception)
    async def on_fault(_request: Request, _exc: Exception) -> Response:
        return problem_response(
            HTTPStatus.INTERNAL_SERVER_ERROR, "cannot answer: fault in the gateway, see its log"
        )
