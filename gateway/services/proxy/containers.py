"""Passes requests to the processes of containers.

A request goes to the process that runs when it is sent. When that process is replaced at the same
moment and no longer listens, nothing was sent yet, and the request goes to the new process. A
request of which anything was sent is never sent again: it may have been executed.

A connection is used again when its request and answer were complete. The process that a request
goes to does not retire meanwhile, so it closes none that a request is sent over.
"""

import contextlib
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable

from gateway.http.problems import problem_response
from gateway.services.containers import ContainerState
from gateway.services.limits import ServiceLimits
from gateway.services.proxy.exchange import ExchangeLimits, ProxyExchange, Upstream
from gateway.services.proxy.headers import (
    REQUEST_ID,
    TRACE_PARENT,
    Headers,
    is_upgrade,
    target_below,
    to_container,
    with_trace,
)
from gateway.services.proxy.idle_connections import IdleConnections
from gateway.services.proxy.streams import connect_unix
from gateway.services.routes import ContainerRoute
from gateway.services.runtimes.port import Process
from gateway.services.supervisor import Supervisor
from web.asgi import Receive, Scope, Send
from web.server.takeover import take_over_of

logger = logging.getLogger(__name__)

CALLER_KEY = "hecate.caller"  # in the ASGI scope: the id of the container that calls
WS_PREFIX = "/ws"
WS_SUPPORT_KEY = "MCM.WEBSOCKET_SUPPORT"
RETRY = {"Retry-After": "1"}
SWITCHES_LIMIT = 3  # of a container, while one request is sent

FindSupervisor = Callable[[str], Supervisor | None]


class ContainerProxy:
    """Passes requests on, within bounds for each container."""

    def __init__(self, find: FindSupervisor, limits: ServiceLimits) -> None:
        self._find, self._limits = find, limits
        self._requests: Counter[str] = Counter()  # being answered, by container
        self._websockets: Counter[str] = Counter()  # open or being opened, by container
        self._idle = IdleConnections[Process]()

    def open_requests(self) -> dict[str, int]:
        """Return how many requests are being answered, by container."""
        return dict(self._requests)

    def close(self) -> None:
        """Close the connections that no request uses."""
        self._idle.close()

    async def serve(
        self, route: ContainerRoute, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer one request."""
        name, supervisor = route.container_id, self._find(route.container_id)
        upgrade = is_upgrade(scope) and take_over_of(scope) is not None
        counter = self._websockets if upgrade else self._requests
        limit = self._limits.websockets if upgrade else self._limits.requests
        why = _explain_absence(name, supervisor)
        if not why and counter[name] >= limit:
            kind = "WebSockets" if upgrade else "requests"
            why = f"cannot reach {name}: it answers {limit} {kind} already"
        if why or supervisor is None:
            await problem_response(503, why, RETRY)(scope, receive, send)
            return
        prefix = _prefix(route, scope)
        if prefix != route.base and not (upgrade and _has_event_socket(supervisor)):
            why = f"cannot find {scope['path'][:200]}: {name} has no WebSocket there"
            await problem_response(404, why)(scope, receive, send)
            return
        counter[name] += 1
        try:
            await self._carry(supervisor, prefix, scope, receive, send)
        finally:
            counter[name] -= 1
            if not counter[name]:
                del counter[name]

    async def _carry(
        self, supervisor: Supervisor, prefix: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        headers = with_trace(to_container(scope, prefix, scope.get(CALLER_KEY, "")))
        connector = _Connector(supervisor, self._idle)
        exchange = ProxyExchange(
            Upstream(
                name="the microservice",
                connect=connector.connect,
                target=target_below(scope, prefix),
                headers=headers,
                loss="its process ended, `hecate ps` says why",
                keep=connector.keep,
            ),
            ExchangeLimits(
                self._limits.answer_s, self._limits.stall_s, self._limits.websocket_idle_s
            ),
        )
        started = time.perf_counter()
        try:
            with connector.held:
                await exchange.carry(scope, receive, send)
        finally:
            _log_access(scope, exchange.status, headers, time.perf_counter() - started)


def find_websocket_path(path: str) -> str:
    """Return the path of the microservice whose WebSocket a compatible path names; "" for none."""
    return path.removeprefix(WS_PREFIX) if path.startswith(f"{WS_PREFIX}/") else ""


class _Connector:
    """Connects one request to the process that runs, which may be replaced meanwhile.

    The process does not retire before `held` is closed.
    """

    def __init__(self, supervisor: Supervisor, idle: IdleConnections[Process]) -> None:
        self.held = contextlib.ExitStack()
        self._supervisor, self._idle = supervisor, idle
        self._process: Process | None = None

    async def connect(self) -> socket.socket:
        """Return a connection."""
        for _ in range(SWITCHES_LIMIT):
            process = self._process = self._supervisor.process
            if process is None:
                break
            with contextlib.ExitStack() as attempt:
                attempt.enter_context(self._supervisor.answering(process))
                try:
                    connection = self._idle.take(process) or await connect_unix(
                        str(process.http_socket)
                    )
                except OSError:
                    if self._supervisor.process is process:
                        raise
                    continue
                self.held.push(attempt.pop_all())
                return connection
        raise ConnectionRefusedError

    def keep(self, connection: socket.socket) -> None:
        """Keep a connection for another request to the same process."""
        if self._process is not None and self._process is self._supervisor.process:
            self._idle.keep(self._process, connection)
        else:
            connection.close()


def _explain_absence(name: str, supervisor: Supervisor | None) -> str:
    if supervisor is not None and supervisor.process is not None:
        return ""
    state = supervisor.state.value if supervisor else "deleted"
    why = f"cannot reach {name}: it is {state}"
    if state == ContainerState.STOPPED:
        return f"{why}; `hecate start {name}` starts it"
    return f"{why}; `hecate ps` says why" if state == ContainerState.FAILED else why


def _prefix(route: ContainerRoute, scope: Scope) -> str:
    """Return the part of the path that the container does not see."""
    is_own = f"{scope['path']}/".startswith(f"{route.base}/")
    return route.base if is_own else f"{WS_PREFIX}{route.base}"


def _has_event_socket(supervisor: Supervisor) -> bool:
    """Return whether /ws/<base> leads to a container; images of JavaScript have to ask for it."""
    version = supervisor.version
    if version.runtime == "python":
        return True  # the kit refuses paths without a WebSocket
    return version.env.get(WS_SUPPORT_KEY, "").lower() == "true"


def _log_access(scope: Scope, status: int, headers: Headers, took_s: float) -> None:
    found = dict(headers)
    logger.debug(
        "%s %s: %s in %.1f ms, request %s, trace %s",
        scope["method"], scope["path"], status or "no answer", took_s * 1000,
        found[REQUEST_ID].decode(), found[TRACE_PARENT].decode(),
    )  # fmt: skip
