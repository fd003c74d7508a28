"""GET /mcm/v1/containers/{id}/logs: what a container printed, and prints."""

import asyncio
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse

from gateway.http.inprocess import Receive, Scope, Send
from gateway.http.problems import Problem
from gateway.services.deployments import Deployments
from gateway.services.errors import NotFoundError
from gateway.services.limits import ServiceLimits
from gateway.services.log_reader import LogReader

FOLLOW_S = 0.25  # between two looks at a log that does not grow
LINES_LIMIT = 10_000


class _Counted(StreamingResponse):
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


def add_log_route(
    router: APIRouter,
    deployments: Deployments,
    limits: ServiceLimits,
    client_id_of: Callable[..., Any],
) -> None:
    """Add the route to the router of the mCM API."""
    client = Annotated[str, Depends(client_id_of)]
    following: set[object] = set()

    async def lines(path: Path, tail: int, is_there: Callable[[], bool]) -> AsyncIterator[bytes]:
        reader = LogReader(path)
        try:
            await asyncio.to_thread(reader.seek_tail, tail)
            while True:
                if piece := await asyncio.to_thread(reader.more):
                    yield piece
                elif is_there():
                    await asyncio.sleep(FOLLOW_S)
                else:
                    return
        finally:
            reader.close()

    @router.get("/containers/{container_id}/logs", response_class=StreamingResponse)
    async def get_logs(
        container_id: str,
        client_id: client,
        tail: Annotated[int, Query(ge=0, le=LINES_LIMIT)] = 200,
        follow: bool = False,
    ) -> StreamingResponse:
        try:
            path = deployments.log_path(client_id, container_id)
        except NotFoundError as exc:
            raise Problem(HTTPStatus.NOT_FOUND, str(exc)) from exc
        if follow and len(following) >= limits.followers:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"cannot follow the log: {len(following)} logs are followed already",
            )
        deployed = deployments.container(container_id)

        def is_there() -> bool:
            return follow and deployments.is_same(deployed, container_id)

        return _Counted(following, lines(path, tail, is_there), media_type="text/plain")
