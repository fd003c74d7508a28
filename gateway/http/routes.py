"""Routes of an HTTP API: a method and a path, the check of the caller, a handler, a description.

A route cannot be made without the check; `anyone` is the check that lets all callers through.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router

from gateway.http import problems
from gateway.http.parameters import Parameter
from gateway.http.problems import Problem
from web.asgi import App, Receive, Scope, Send

Caller = TypeVar("Caller")

ANY: Mapping[str, Any] = {}  # the schema of an answer in JSON of any shape
OBJECT = {"type": "object", "additionalProperties": True}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
COUNTS = {"type": "object", "additionalProperties": {"type": "integer"}}


@dataclass(frozen=True, slots=True)
class Operation:
    """The description of a route in the OpenAPI document.

    Attributes:
        body: the media type and the schema of the request's body.
        answer: the schema of a good answer in JSON; None when it has another type or no body.
    """

    tag: str
    summary: str
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: tuple[str, Mapping[str, Any]] | None = None
    status: int = 200
    answer: Mapping[str, Any] | None = None


class ApiRoute(Route):
    """One operation of an API; operation is None when the document does not name it."""

    def __init__(
        self,
        method: str,
        path: str,
        endpoint: Callable[[Request], Awaitable[Response]],
        name: str,
        operation: Operation | None,
    ) -> None:
        super().__init__(path, endpoint, methods=[method], name=name)
        self.method, self.operation = method, operation
        self.served = (method, "HEAD") if method == "GET" else (method,)
        self.methods = set(self.served)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for this path; HTTPException 405 when its method is another."""
        if scope["method"] not in self.served:
            raise HTTPException(405, headers={"Allow": ", ".join(self.served)})
        if scope["method"] == "HEAD":
            send = _without_content(send)
        await self.app(scope, receive, send)


def _without_content(send: Send) -> Send:
    """Return a function that ends an answer after its headers, also one that has no end."""

    async def send_head(event: MutableMapping[str, Any]) -> None:
        if event["type"] == "http.response.start":
            await send(event)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return send_head


def make_route(
    method_and_path: str,
    check: Callable[[Request], Awaitable[Caller]],
    handler: Callable[[Request, Caller], Awaitable[Response]],
    operation: Operation | None,
) -> ApiRoute:
    """Return a route, "GET /path".

    The handler gets what the check returns; the check raises Problem for those it refuses.
    """
    method, _, path = method_and_path.partition(" ")

    async def answer(request: Request) -> Response:
        return await handler(request, await check(request))

    return ApiRoute(method, path, answer, handler.__name__, operation)


async def anyone(_request: Request) -> None:
    """Let every caller through."""


def make_api(routes: Iterable[ApiRoute], default: App | None = None) -> App:
    """Return an application that serves routes, and other paths through default.

    Every error becomes a problem document.
    """
    listed = list(routes)
    router: App = Router(listed, redirect_slashes=False, default=default)
    if default is not None:
        router = _pass_others(router, _first_levels(listed), default)
    handlers = {
        Problem: problems.answer_problem,
        HTTPException: problems.answer_http_error,
        # forms choose their charset, and some of those make texts that UTF-8 does not have
        UnicodeError: problems.answer_text_error,
        ClientDisconnect: problems.answer_cut_request,
    }
    return _answer_faults(ExceptionMiddleware(router, handlers))


def _answer_faults(app: App) -> App:
    """Return an application that answers for its own faults, and then raises them for the log.

    Starlette's brings the entities of HTML: 0.3 MiB.
    """

    async def answer_faults(scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def note(message: MutableMapping[str, Any]) -> None:
            nonlocal has_begun
            has_begun |= message["type"] == "http.response.start"
            await send(message)

        try:
            await app(scope, receive, note)
        except Exception as exc:
            if scope["type"] == "http" and not has_begun:
                response = await problems.answer_fault(Request(scope), exc)
                await response(scope, receive, send)
            raise

    return answer_faults


def _first_levels(routes: Iterable[ApiRoute]) -> frozenset[str] | None:
    """Return the first level of each path; None when a parameter is one."""
    levels = frozenset(_first_level(route.path) for route in routes)
    return None if any("{" in level for level in levels) else levels


def _first_level(path: str) -> str:
    return path.partition("/")[2].partition("/")[0]


def _pass_others(router: App, levels: frozenset[str] | None, default: App) -> App:
    """Return an application that asks the router only for paths that a route may have."""
    if levels is None:
        return router

    async def pass_others(scope: Scope, receive: Receive, send: Send) -> None:
        # speed: the router compares each route with the path, 40 us for each request
        # of a microservice, see benchmarks/services/
        is_other = (
            scope["type"] == "http"
            and not scope.get("root_path")
            and _first_level(scope["path"]) not in levels
        )
        await (default if is_other else router)(scope, receive, send)

    return pass_others
