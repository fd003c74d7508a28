"""Serves the visitors of BEPs, below the ids of open BEPs only."""

from collections.abc import Callable, Collection
from http import HTTPStatus

from gateway.http.origin import KEY, Origin
from gateway.http.problems import problem_response
from web.asgi import App, Receive, Scope, Send


class Visitors:
    """An ASGI application in front of the microservices."""

    def __init__(self, app: App, open_beps: Callable[[], Collection[str]]) -> None:
        self._app, self._open_beps = app, open_beps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        raw_path: bytes = scope["raw_path"]
        bep_id = raw_path[1:].split(b"/", 1)[0].decode("latin-1")
        if bep_id not in self._open_beps() or not raw_path.startswith(b"/"):
            response = problem_response(
                HTTPStatus.NOT_FOUND, "cannot find BEP: it has expired or never was"
            )
            await response(scope, receive, send)
            return
        length = len(bep_id) + 1
        inner = dict(scope)
        inner["path"] = scope["path"][length:] or "/"
        inner["raw_path"] = raw_path[length:] or b"/"
        inner[KEY] = Origin.BEP.value
        await self._app(inner, receive, send)
