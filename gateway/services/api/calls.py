"""Reads calls of the mCM API, and turns the errors of services into problem documents."""

import contextlib
from collections.abc import Awaitable, Callable, Iterator
from http import HTTPStatus
from typing import Any

from starlette.requests import Request

from gateway.http.body import stream_body
from gateway.http.problems import Problem
from gateway.services.errors import (
    ConflictError,
    DeployError,
    ImageSizeError,
    NotFoundError,
    ServicesError,
    StorageError,
)
from web import JsonError, parse_json

PREFIX = "/mcm/v1"
TAG = "microservices"
BODY_LIMIT_BYTES = 128 * 1024  # of a container's JSON

ClientCheck = Callable[[Request], Awaitable[str]]

_STATUS = {
    NotFoundError: HTTPStatus.NOT_FOUND,
    ConflictError: HTTPStatus.CONFLICT,
    DeployError: HTTPStatus.UNPROCESSABLE_ENTITY,
    ImageSizeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    StorageError: HTTPStatus.INSUFFICIENT_STORAGE,
}


@contextlib.contextmanager
def errors_as_problems() -> Iterator[None]:
    """Raise Problem for an error of services."""
    try:
        yield
    except ServicesError as exc:
        status = _STATUS.get(type(exc), HTTPStatus.BAD_REQUEST)
        raise Problem(status, str(exc)) from exc


async def read_object(
    request: Request, what: str = "container", empty: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the object in a JSON body, with any content type; `empty` for an empty body."""
    body = b"".join([chunk async for chunk in stream_body(request, BODY_LIMIT_BYTES)])
    if empty is not None and not body.strip():
        return empty
    try:
        fields = parse_json(body)
    except JsonError as exc:
        raise Problem(HTTPStatus.BAD_REQUEST, f"cannot read {what}: {exc}") from exc
    if not isinstance(fields, dict):
        raise Problem(HTTPStatus.BAD_REQUEST, f"cannot read {what}: not an object")
    return fields
