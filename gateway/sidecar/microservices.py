"""Serves every path that is not the sidecar's own: microservices, and BEPs to them."""

from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from starlette.responses import JSONResponse, Response

from gateway.access.guard import Guard
from gateway.errors import BepError
from gateway.http.origin import may_visit, origin_of
from gateway.http.problems import ABSENT, STARTING, problem_response
from gateway.services import ContainerRoute, ServiceHost
from protocol.errors import TokenError
from web.asgi import Receive, Scope, Send

if TYPE_CHECKING:  # only a node with a cloud needs it in memory
    from gateway.tunnel.grants import BepService


class Microservices:
    """An ASGI application that hands requests to containers; beps is None without a cloud."""

    def __init__(self, services: ServiceHost, beps: "BepService | None", guard: Guard) -> None:
        self._services, self._beps, self._guard = services, beps, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        route = self._services.find(path)
        response: Response
        if route is None and not self._services.is_loaded:
            response = problem_response(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"cannot find {path[:200]} yet: the gateway starts its microservices; try again",
                STARTING,
            )
        elif route is None:
            response = problem_response(
                HTTPStatus.NOT_FOUND,
                f"cannot find {path[:200]}: no such route or microservice",
                ABSENT,
            )
        elif not may_visit(route.expose, bep=route.bep, origin=origin_of(scope)):
            response = problem_response(
                HTTPStatus.FORBIDDEN,
                f"cannot call {route.base}: it does not answer requests that come this way",
            )
        elif route.bep and path == f"{route.base}/bep" and scope["method"] == "GET":
            response = await self._open_bep(route, scope)
        else:
            headers = self._guard.without_api_key(scope["headers"])
            await self._services.serve(route, {**scope, "headers": headers}, receive, send)
            return
        await response(scope, receive, send)

    async def _open_bep(self, route: ContainerRoute, scope: Scope) -> Response:
        query = parse_qs(scope["query_string"].decode("latin-1"))
        codes = query.get("hmac", [])
        if self._beps is None:
            return problem_response(
                HTTPStatus.SERVICE_UNAVAILABLE, "cannot open BEP: this node has no cloud"
            )
        if len(codes) != 1:
            return problem_response(
                HTTPStatus.FORBIDDEN, "cannot open BEP: needs ?hmac=<code from getEdgeHmacCode>"
            )
        try:
            bep = await self._beps.request(codes[0], route.base)
        except TokenError as exc:
            return problem_response(HTTPStatus.FORBIDDEN, str(exc))
        except BepError as exc:
            return problem_response(HTTPStatus.SERVICE_UNAVAILABLE, str(exc), {"Retry-After": "5"})
        return JSONResponse({"href": bep.href, "expires_at": bep.expires_at})
