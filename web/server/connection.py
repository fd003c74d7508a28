"""Serves one HTTP connection, and ends it when its peer makes no progress.

uvicorn parses requests and writes answers. This module adds deadlines: for the request head, for
the progress of its body, and for the peer's reading of the answer. phases.py has the states.
"""

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import h11

from web.problems import encode_raw_problem
from web.server.limits import HttpLimits
from web.server.phases import HttpEvent, HttpPhase, next_phase
from web.server.takeover import KEY, TakenConnection
from web.server.uvicorn_parts import H11Protocol

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from web.asgi import Receive, Scope, Send
    from web.server.connection_table import ConnectionTable

_BUSY = encode_raw_problem(503, "cannot serve: all connections are in use; try again")
_HEAD_LATE = encode_raw_problem(408, "cannot read request: its head was not complete in time")
_BODY_LATE = encode_raw_problem(408, "cannot read request: its body made no progress")
_AMBIGUOUS = (
    "cannot read request: it has a Transfer-Encoding beside a Content-Length, or is HTTP/1.0"
)


@dataclass(slots=True)
class ConnectionBounds:
    """The limits, the table and the counters that the connections of one server share.

    by_listener counts connections by the socket that accepted them, not by the peer's address.
    """

    limits: HttpLimits
    table: "ConnectionTable[HttpConnection]"
    by_listener: bool = False
    timeouts: dict[str, int] = field(default_factory=lambda: {"head": 0, "body": 0, "answer": 0})

    def counts(self) -> dict[str, int]:
        """Return how many connections there are, and how many were refused or cut."""
        counters = self.table.counters
        return {
            "connections": len(self.table),
            "connections_refused": counters.refused,
            "connections_evicted": counters.evicted,
            "connections_timed_out": sum(self.timeouts.values()),
        }


class HttpConnection(H11Protocol):
    """An HTTP/1.1 connection with deadlines."""

    def __init__(
        self,
        bounds: ConnectionBounds,
        config: "Config",
        server_state: "ServerState",
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._bounds = bounds
        self._phase = HttpPhase.IDLE
        self._deadline = 0.0
        self._progress_bytes = 0  # of a body since the last deadline
        self._unsent_bytes: int | None = (
            None  # bytes unsent when the peer last read a part of an answer
        )
        self._unsent_deadline = 0.0
        self._taken: TakenConnection | None = None
        self._inner_app, self.app = self.app, self._serve

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Admit the connection, or refuse it."""
        super().connection_made(transport)
        is_admitted, evicted = self._bounds.table.enter(self, self._find_peer())
        self._deadline = self.loop.time() + self._bounds.limits.head_s
        if evicted is not None:
            evicted.transport.abort()
        if not is_admitted:
            transport.write(_BUSY)
            transport.close()

    def _find_peer(self) -> str:
        """Return the key under which the table counts this connection."""
        near = self.server if self._bounds.by_listener else self.client
        return near[0] if near else ""

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the place of the connection."""
        self._bounds.table.leave(self)
        if self._taken is not None:
            self._taken.feed_end()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # uvicorn forgets it when the peer reset

    def data_received(self, data: bytes) -> None:
        """Count the bytes, then let uvicorn parse them."""
        if self.transport.is_closing():
            return
        if self._taken is not None:
            self._taken.feed(data)
            return
        self._progress_bytes += len(data)
        super().data_received(data)
        if self._phase is HttpPhase.IDLE:
            self._phase = next_phase(HttpPhase.IDLE, HttpEvent.BYTES)
            self._deadline = self.loop.time() + self._bounds.limits.head_s
        self._follow(self.loop.time())

    def eof_received(self) -> bool | None:  # type: ignore[override]  # asyncio reads the result
        """Leave the other direction open when the connection is taken over."""
        if self._taken is None:
            return super().eof_received()
        self._taken.feed_end()
        return True

    def shutdown(self) -> None:
        """End the connection when the server stops."""
        if self._taken is None:
            super().shutdown()
        else:
            self._taken.abort()

    def take_over(self, head: bytes) -> TakenConnection:
        """Send the head of an answer, after which the connection's bytes are the application's."""
        self._phase = next_phase(self._phase, HttpEvent.TAKEN_OVER)
        self._taken = TakenConnection(self.transport, self.flow.drain)
        self.cycle.disconnected = True  # uvicorn waits for no answer
        self.transport.write(head)
        if unread := self.conn.trailing_data[0]:
            self._taken.feed(unread)
        self.flow.resume_reading()
        return self._taken

    async def _serve(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if self.conn.their_state is h11.MIGHT_SWITCH_PROTOCOL:  # type: ignore[attr-defined]  # in its manual
            scope["extensions"] = {**scope.get("extensions", {}), KEY: self.take_over}
        try:
            if _is_ambiguous(scope):
                from web.responses import problem_response  # few servers are attacked so

                answer = problem_response(400, _AMBIGUOUS, {"connection": "close"})
                await answer(scope, receive, send)
                return
            await self._inner_app(scope, receive, send)
        finally:
            if self._taken is not None:
                self._taken.close()

    def _should_upgrade(self) -> bool:
        """Leave upgrades to the application, which may ignore them (RFC 9110, 7.8)."""
        return False

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._follow(self.loop.time())

    def tick(self, now: float) -> None:
        """End the connection when its deadline has passed."""
        if self._taken is not None:
            self._watch_unsent(now)
            return
        self._follow(now)
        if self._watch_unsent(now) or self.transport.is_closing():
            return
        if now < self._deadline or self._phase is HttpPhase.ANSWER:
            return
        if self._phase is HttpPhase.BODY:
            if not self.flow.read_paused:  # else the application is slow, not the peer
                self._end("body", b"" if self.cycle.response_started else _BODY_LATE)
        else:
            self._end("head", _HEAD_LATE if self._phase is HttpPhase.HEAD else b"")

    def _follow(self, now: float) -> None:
        """Change the phase as uvicorn's parser has, and record progress within it."""
        bounds, phase, event = self._bounds, self._phase, self._find_event()
        if event is not None:
            phase = next_phase(phase, event)
        if phase is HttpPhase.ANSWER:
            if self._phase is not HttpPhase.ANSWER:
                bounds.table.work(self)
        elif phase is HttpPhase.BODY:
            if self.flow.read_paused:
                bounds.table.work(self)
            elif self._phase is not HttpPhase.BODY or self._progress_bytes >= self._least_bytes:
                bounds.table.progress(self)
                self._progress_bytes = 0
                self._deadline = now + bounds.limits.progress_s
        elif self._phase in (HttpPhase.BODY, HttpPhase.ANSWER):
            bounds.table.progress(self)
            self._deadline = now + bounds.limits.idle_s
        self._phase = phase

    @property
    def _least_bytes(self) -> int:
        return self._bounds.limits.progress_bytes

    def _find_event(self) -> HttpEvent | None:
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            return HttpEvent.HEAD_READ if cycle.more_body else HttpEvent.REQUEST_READ
        if self._phase in (HttpPhase.BODY, HttpPhase.ANSWER):
            has_more = bool(self.conn.trailing_data[0])
            return HttpEvent.ANSWERED_EARLY if has_more else HttpEvent.ANSWERED
        return None

    def _watch_unsent(self, now: float) -> bool:
        """Cut a peer that does not read its answer; return whether it was cut."""
        limits, unsent = self._bounds.limits, self.transport.get_write_buffer_size()
        before = self._unsent_bytes
        if not unsent:
            self._unsent_bytes = None
        elif before is None or before - unsent >= limits.progress_bytes or unsent > before:
            self._unsent_bytes = unsent
            is_last = self.transport.is_closing()
            self._unsent_deadline = now + (limits.close_s if is_last else limits.progress_s)
        elif now >= self._unsent_deadline:
            self._bounds.timeouts["answer"] += 1
            self.transport.abort()
            return True
        return False

    def _end(self, late_part: str, answer: bytes) -> None:
        self._bounds.timeouts[late_part] += 1
        if answer:
            self.transport.write(answer)
        self.transport.close()


def _is_ambiguous(scope: "Scope") -> bool:
    """Return whether two servers may see the end of a request at different places.

    Such a request may hide another one behind it (RFC 9112, 6.1 and 6.3).
    """
    names = {name for name, _ in scope["headers"]}
    return b"transfer-encoding" in names and (
        b"content-length" in names or scope["http_version"] == "1.0"
    )


class GivenConnection(HttpConnection):
    """A connection that another part has accepted, whose peer it knows."""

    def __init__(
        self, bounds: ConnectionBounds, peer: str, ended: asyncio.Event, **parts: Any
    ) -> None:
        super().__init__(bounds, **parts)
        self._peer, self._ended = peer, ended

    def _find_peer(self) -> str:
        return self._peer

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the place of the connection, and report its end."""
        super().connection_lost(exc)
        self._ended.set()


class HttpFactory:
    """Makes the connections of one server, as uvicorn asks for them."""

    def __init__(self, bounds: ConnectionBounds) -> None:
        self._bounds = bounds

    def __call__(self, **parts: Any) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        return cast("asyncio.Protocol", HttpConnection(self._bounds, **parts))
