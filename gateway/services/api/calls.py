"""Reads calls of the mCM API, and turns the errors of services into problem documents."""

import contextlib
import functools
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ParamSpec, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from gateway.http.body import stream_body
from gateway.http.problems import Problem
from gateway.http.routes import ApiRoute, Operation, make_route
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
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class McmAccess:
    """The checks of callers.

    Attributes:
        client: returns the client id of a request, or raises Problem.
        named: returns the client id of a request that names one in its body: its own, or any
            with the API key. Raises Problem.
        code: returns if a code allows an operation of this node; Problem if not.
    """

    client: ClientCheck
    named: Callable[[Request, str], Awaitable[str]]
    code: Callable[[str, str], None]


def access_of(check: ClientCheck) -> McmAccess:
    """Return the access of clients who act for themselves only; no code is accepted."""

    async def named(request: Request, client_id: str) -> str:
        own = await check(request)
        if own != client_id:
            why = f"cannot act for client {client_id[:80]!r}: not yours"
            raise Problem(HTTPStatus.FORBIDDEN, why)
        return own

    def code(_code: str, _operation: str) -> None:
        raise Problem(HTTPStatus.FORBIDDEN, "cannot accept code: this node is in no account")

    return McmAccess(check, named, code)


def mcm_route(
    method_and_path: str,
    check: ClientCheck,
    handler: Callable[[Request, str], Awaitable[Response]],
    operation: Operation | None,
) -> ApiRoute:
    """Return a route whose problems have the members that known clients read, too."""
    return make_route(method_and_path, _compatible(check), _compatible(handler), operation)


def _compatible(
    function: Callable[Arguments, Awaitable[Result]],
) -> Callable[Arguments, Awaitable[Result]]:
    @functools.wraps(function)
    async def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return await function(*args, **kwargs)
        except Problem as exc:
            error = {"code": int(exc.status), "message": exc.detail}
            extra = {**error, "error": error, **exc.extra}
            raise Problem(exc.status, exc.detail, exc.headers, extra) from exc

    return call


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
