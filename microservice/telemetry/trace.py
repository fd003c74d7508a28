"""Carries the context of a trace from a trigger to what its handler sends (W3C Trace Context).

A trigger brings `traceparent` as an HTTP header or an MQTT user property. Its handler is a span of
that trace: what it publishes and calls names the handler's span as the parent. A trigger without a
valid `traceparent` begins no trace.
"""

import contextlib
import re
import secrets
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

PARENT, STATE = "traceparent", "tracestate"
STATE_LIMIT = 512  # characters; a longer one is left out, as the specification allows

_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_INVALID_VERSION = "ff"


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The span of a handler within its trace."""

    trace_id: str
    span_id: str
    flags: str = "00"
    state: str = ""

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Return what a message or request of this span carries."""
        parent = f"00-{self.trace_id}-{self.span_id}-{self.flags}"
        return ((PARENT, parent), (STATE, self.state)) if self.state else ((PARENT, parent),)


_current: ContextVar[TraceContext | None] = ContextVar("trace", default=None)


def current_trace() -> TraceContext | None:
    """Return the trace of the handler that runs; None when its trigger has none."""
    return _current.get()


@contextlib.contextmanager
def continue_trace(parent: str | None, state: str | None) -> Iterator[None]:
    """Make what runs within a span of the trace that a trigger brought, if it brought one."""
    token = _current.set(make_span(parent or "", state or ""))
    try:
        yield
    finally:
        _current.reset(token)


def make_span(parent: str, state: str) -> TraceContext | None:
    """Return a new span below a traceparent; None when that is not valid."""
    found = _PARENT.fullmatch(parent.strip())
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == _INVALID_VERSION or (version == "00" and more):
        return None
    if not int(trace_id, 16) or not int(span_id, 16):
        return None
    kept = state if len(state) <= STATE_LIMIT else ""
    return TraceContext(trace_id, secrets.token_hex(8), flags, kept)
