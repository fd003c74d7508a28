"""Turns errors into problem documents (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from web.responses import problem_response

__all__ = [
    "ABSENT",
    "STARTING",
    "Problem",
    "answer_cut_request",
    "answer_fault",
    "answer_http_error",
    "answer_problem",
    "answer_text_error",
    "problem_response",
]


# Nothing is at the path (RFC 9209, 2.3.2). No microservice can say so: the header ends here.
ABSENT = {"Proxy-Status": "hecate; error=destination_not_found"}
# something may be there soon (RFC 9209, 2.3.3)
STARTING = {"Proxy-Status": "hecate; error=destination_unavailable", "Retry-After": "1"}


class Problem(Exception):  # noqa: N818  # the word of RFC 9457
    """An answer other than success; detail reads "cannot X: why".

    Extra are further members of the document (RFC 9457, 3.2), for clients that read others.
    """

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers
        self.extra = extra or {}


async def answer_problem(_request: Request, exc: Exception) -> Response:
    """Answer with the document of a Problem."""
    assert isinstance(exc, Problem)
    return problem_response(exc.status, exc.detail, exc.headers, **exc.extra)


async def answer_http_error(request: Request, exc: Exception) -> Response:
    """Answer errors that Starlette raises."""
    assert isinstance(exc, HTTPException)
    detail = str(exc.detail)
    headers = dict(exc.headers or {})
    if exc.status_code == HTTPStatus.NOT_FOUND:
        headers.update(ABSENT)
    if detail == HTTPStatus(exc.status_code).phrase:  # its own errors carry no more
        detail = f"cannot {request.method} {request.url.path}: {detail.lower()}"
    return problem_response(exc.status_code, detail, headers)


async def answer_text_error(_request: Request, _exc: Exception) -> Response:
    """Answer a request with a text that UTF-8 cannot hold; forms choose their charset."""
    return problem_response(HTTPStatus.BAD_REQUEST, "cannot read request: a text is not Unicode")


async def answer_cut_request(_request: Request, _exc: Exception) -> Response:
    """Answer a request whose connection ended before its body."""
    return problem_response(HTTPStatus.BAD_REQUEST, "cannot read request: it ended early")


async def answer_fault(_request: Request, _exc: Exception) -> Response:
    """Answer a request that met a fault of the gateway."""
    return problem_response(
        HTTPStatus.INTERNAL_SERVER_ERROR, "cannot answer: fault in the gateway, see its log"
    )
