"""Serves /nodes/NODE-ID/path: the API and the microservices of any node that this one reaches.

Callers on this machine and on this network have to show credentials of this node or of its account;
containers do not. The other node applies its own rules to the request. A request that came from
another node goes no further, so that there are no loops.
"""

import re

from starlette.requests import Request

from gateway.access.guard import Guard
from gateway.calls.other_nodes import OtherNodes
from gateway.http.origin import Origin, origin_of
from gateway.http.problems import Problem, problem_response
from gateway.services.egress.remote import call_remote
from gateway.services.egress.targets import RequestTarget, TargetKind
from gateway.services.proxy.exchange import UpstreamError
from web.asgi import App, Receive, Scope, Send

PREFIX = "/nodes/"

_PATH = re.compile(rb"/nodes/([0-9a-f]{56})(/.*)?", re.DOTALL)
_NEAR = (Origin.LOOPBACK, Origin.CONTAINER, Origin.NETWORK)


class NodeCalls:
    """An ASGI application in front of the API of this node.

    Args:
        node_id: of this node.
        here: the API of this node.
        nodes: the other nodes; None when this one reaches none.
        guard: checks callers.
    """

    def __init__(self, node_id: str, here: App, nodes: OtherNodes | None, guard: Guard) -> None:
        self._node_id, self._here, self._nodes, self._guard = node_id, here, nodes, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self._here(scope, receive, send)
            return
        found = _PATH.fullmatch(scope["raw_path"])
        if found is None:
            response = problem_response(404, "cannot find node: must be /nodes/NODE-ID/path")
            await response(scope, receive, send)
            return
        node_id, path = found[1].decode(), found[2] or b"/"
        if node_id == self._node_id:
            inner = {**scope, "path": scope["path"][len(PREFIX) + 56 :] or "/", "raw_path": path}
            await self._here(inner, receive, send)
            return
        if origin_of(scope) not in _NEAR:
            why = "cannot pass request on: it came from another node already"
            await problem_response(403, why)(scope, receive, send)
            return
        try:
            await self._guard.container_or_caller(Request(scope))
            target = RequestTarget(
                TargetKind.NODE, path=_with_query(path, scope["query_string"]), node_id=node_id
            )
            headers = self._guard.without_api_key(scope["headers"])
            await call_remote(self._nodes, target, {**scope, "headers": headers}, receive, send)
        except Problem as exc:
            refusal = problem_response(exc.status, exc.detail, exc.headers, **exc.extra)
            await refusal(scope, receive, send)
        except UpstreamError as exc:
            await problem_response(exc.status, str(exc), exc.headers)(scope, receive, send)


def _with_query(path: bytes, query: bytes) -> str:
    return (path + (b"?" + query if query else b"")).decode("latin-1")
