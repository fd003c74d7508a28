"""Serves the requests that containers send on their sockets of the gateway."""

import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import unquote

from gateway.http.origin import KEY, Origin
from gateway.http.problems import ABSENT, problem_response
from gateway.services.egress.dialer import Dialer, EgressCounters
from gateway.services.egress.ports import EgressTargets
from gateway.services.egress.remote import call_remote
from gateway.services.egress.targets import RequestTarget, TargetError, TargetKind, find_target
from gateway.services.proxy.containers import CALLER_KEY
from gateway.services.proxy.exchange import ExchangeLimits, ProxyExchange, Upstream, UpstreamError
from gateway.services.proxy.headers import CALLER_HEADER, Headers, to_outside
from gateway.services.proxy.streams import SocketStream, connect_unix, join
from gateway.services.routes import ContainerRoute
from web.asgi import Receive, Scope, Send
from web.server.takeover import take_over_of

logger = logging.getLogger(__name__)

CONNECTED = b"HTTP/1.1 200 Connection established\r\n\r\n"
LIMITS = ExchangeLimits(answer_s=60.0, stall_s=60.0, idle_s=300.0, connect_s=20.0)
BAD_TARGET = {"Proxy-Status": "hecate; error=http_request_error"}

FindService = Callable[[str], ContainerRoute | None]


@dataclass(frozen=True, slots=True)
class ContainerCaller:
    """The process of a container that sends requests."""

    container_id: str
    socket: str  # the path on which it sends them
    dialer: Dialer
    counters: EgressCounters


class EgressApp:
    """An ASGI application; the socket of a connection says which container calls.

    Args:
        callers: by the path of their socket.
        targets: returns the targets; None until the gateway has them.
        find_service: returns the route of a microservice of this node by its type in lower case.
    """

    def __init__(
        self,
        callers: Mapping[str, ContainerCaller],
        targets: Callable[[], EgressTargets | None],
        find_service: FindService,
    ) -> None:
        self._callers, self._targets, self._find_service = callers, targets, find_service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        server, targets = scope["server"], self._targets()
        caller = self._callers.get(server[0]) if server else None
        if caller is None or targets is None:
            why = "cannot serve request: the gateway starts or stops"
            await problem_response(503, why, ABSENT)(scope, receive, send)
            return
        try:
            scope["headers"] = [(n, v) for n, v in scope["headers"] if n != CALLER_HEADER]
            target = find_target(scope["method"], _raw_target(scope), scope["headers"], targets.own)
            await self._serve(caller, targets, target, (scope, receive, send))
        except TargetError as exc:
            await problem_response(400, str(exc), BAD_TARGET)(scope, receive, send)
        except UpstreamError as exc:
            given = {**ABSENT, **exc.headers}
            await problem_response(exc.status, str(exc), given)(scope, receive, send)

    async def _serve(
        self,
        caller: ContainerCaller,
        targets: EgressTargets,
        target: RequestTarget,
        client: tuple[Scope, Receive, Send],
    ) -> None:
        scope, receive, send = client
        if scope["method"] == "CONNECT":
            await self._connect(caller, target, scope)
        elif target.kind is TargetKind.OUTSIDE:
            await self._forward(caller, target, client)
        elif target.kind is TargetKind.GATEWAY:
            await targets.api(_inner(scope, caller, target.path), receive, send)
        else:
            path = self._find_here(target, targets.node_id)
            if path is None:
                await call_remote(targets.nodes, target, scope, receive, send)
            else:
                await targets.api(_inner(scope, caller, path), receive, send)

    def _find_here(self, target: RequestTarget, node_id: str) -> str | None:
        """Return the path of a target on this node; None when it is on another one."""
        if target.node_id not in ("", node_id):
            return None
        if target.kind is TargetKind.NODE:
            return target.path
        route = self._find_service(target.service_type)
        return f"{route.base}{target.path}" if route is not None else None

    async def _forward(
        self, caller: ContainerCaller, target: RequestTarget, client: tuple[Scope, Receive, Send]
    ) -> None:
        """Send an HTTP request to the outside."""
        caller.counters.requests += 1
        upstream = Upstream(
            name=target.place,
            connect=partial(caller.dialer.connect, target),
            target=target.path.encode(),
            headers=to_outside(client[0], target.authority),
            loss="it closed the connection",
            problem_headers={"Proxy-Status": "hecate; error=http_protocol_error"},
        )
        await ProxyExchange(upstream, LIMITS).carry(*client)

    async def _connect(self, caller: ContainerCaller, target: RequestTarget, scope: Scope) -> None:
        """Join the bytes of a container and its target (RFC 9110, 9.3.6)."""
        take_over = take_over_of(scope)
        if take_over is None:
            raise TargetError("cannot serve CONNECT: the request has a body")
        if target.kind is TargetKind.OUTSIDE:
            caller.counters.tunnels += 1
            connection = await caller.dialer.connect(target)
        else:  # not by TCP: there it would be anybody on this machine
            connection = await connect_unix(caller.socket)
        with contextlib.closing(connection):
            near = take_over(CONNECTED)
            if not await join(near, SocketStream(connection), LIMITS.idle_s):
                logger.debug("a connection ends: nothing moved for %g s", LIMITS.idle_s)


def _raw_target(scope: Scope) -> str:
    raw: bytes = scope["raw_path"]
    query: bytes = scope["query_string"]
    return (raw + (b"?" + query if query else b"")).decode("latin-1")


def _inner(scope: Scope, caller: ContainerCaller, path: str) -> Scope:
    """Return the request as the sidecar gets it: from this container, whatever it claims."""
    raw, _, query = path.partition("?")
    headers: Headers = [(n, v) for n, v in scope["headers"] if not n.startswith(b"proxy-")]
    return {
        **scope,
        "path": unquote(raw),
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "headers": headers,
        "client": None,
        KEY: Origin.CONTAINER.value,
        CALLER_KEY: caller.container_id,
    }
