"""Serves /mcm/v1/containers/{id}/logs: the output of a container, so far or as it grows."""

import asyncio
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.http.parameters import PathText, QueryFlag, QueryInteger
from gateway.http.problems import Problem
from gateway.http.routes import ApiRoute, Operation
from gateway.services.api.calls import (
    PREFIX,
    TAG,
    ClientCheck,
    errors_as_problems,
    mcm_route,
)
from gateway.services.deployments import Deployments
from gateway.services.limits import ServiceLimits
from gateway.services.logs.reader import LogReader
from web.asgi import Receive, Scope, Send

FOLLOW_S = 0.25  # between two looks at a log that does not grow
LINES_LIMIT = 10_000

_CONTAINER_ID = PathText("container_id")
_TAIL = QueryInteger("tail", 200, 0, LINES_LIMIT)
_FOLLOW = QueryFlag("follow")
_LOGS = Operation(TAG, "Get Logs", parameters=(_CONTAINER_ID, _TAIL, _FOLLOW))


class _CountedResponse(StreamingResponse):
    """A streamed answer that is in a set from its making to its end, also when nobody reads it."""

    def __init__(self, among: set[object], content: AsyncIterator[bytes], media_type: str) -> None:
        super().__init__(content, media_type=media_type)
        self._among = among
        among.add(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._among.discard(self)


def log_route(deployments: Deployments, limits: ServiceLimits, check: ClientCheck) -> ApiRoute:
    """Return the route of logs."""
    following: set[object] = set()

    async def get_logs(request: Request, client_id: str) -> Response:
        container_id = _CONTAINER_ID.read(request)
        tail, follow = _TAIL.read(request), _FOLLOW.read(request)
        with errors_as_problems():
            path = deployments.table.log_path(client_id, container_id)
        if follow and len(following) >= limits.followers:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"cannot follow the log: {len(following)} logs are followed already",
            )
        deployed = deployments.table.get(container_id)

        def may_grow() -> bool:
            return follow and deployments.table.is_same(deployed, container_id)

        return _CountedResponse(following, _read(path, tail, may_grow), media_type="text/plain")

    path = f"GET {PREFIX}/containers/{{container_id}}/logs"
    return mcm_route(path, check, get_logs, _LOGS)


async def _read(path: Path, tail: int, may_grow: Callable[[], bool]) -> AsyncIterator[bytes]:
    """Yield the last lines of a log, then those that follow while it may grow."""
    reader = LogReader(path)
    try:
        await asyncio.to_thread(reader.seek_tail, tail)
        while True:
            if piece := await asyncio.to_thread(reader.more):
                yield piece
            elif may_grow():
                await asyncio.sleep(FOLLOW_S)
            else:
                return
    finally:
        reader.close()
