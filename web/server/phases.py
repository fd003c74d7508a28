"""Defines the phases of an HTTP/1.1 connection and the events that change them. Pure."""

from enum import Enum, auto


class HttpPhase(Enum):
    """The phase of a connection, which decides its deadline."""

    IDLE = auto()  # no byte of a request; a TLS handshake counts as silence
    HEAD = auto()  # some bytes of a request head
    BODY = auto()  # the head is whole, the body is not
    ANSWER = auto()  # the request is whole
    TAKEN = auto()  # an application has taken the connection over: it is no longer HTTP


class HttpEvent(Enum):
    """An event of a connection."""

    BYTES = auto()  # the first bytes of a request
    HEAD_READ = auto()  # a request head is whole, its body is not
    REQUEST_READ = auto()  # a request is whole
    ANSWERED = auto()  # the answer is complete, and no byte has followed the request
    ANSWERED_EARLY = auto()  # the answer is complete, and bytes of the next request are buffered
    TAKEN_OVER = auto()  # after CONNECT or an upgrade


# An event that is not in the table cannot happen in that phase. From ANSWER to BODY or ANSWER: a
# peer has sent its next request before it got the answer (pipelining, RFC 9112, 9.3.2).
TRANSITIONS = {
    (HttpPhase.IDLE, HttpEvent.BYTES): HttpPhase.HEAD,
    (HttpPhase.HEAD, HttpEvent.HEAD_READ): HttpPhase.BODY,
    (HttpPhase.HEAD, HttpEvent.REQUEST_READ): HttpPhase.ANSWER,
    (HttpPhase.BODY, HttpEvent.HEAD_READ): HttpPhase.BODY,
    (HttpPhase.BODY, HttpEvent.REQUEST_READ): HttpPhase.ANSWER,
    (HttpPhase.BODY, HttpEvent.ANSWERED): HttpPhase.IDLE,
    (HttpPhase.BODY, HttpEvent.ANSWERED_EARLY): HttpPhase.HEAD,
    (HttpPhase.ANSWER, HttpEvent.HEAD_READ): HttpPhase.BODY,
    (HttpPhase.ANSWER, HttpEvent.REQUEST_READ): HttpPhase.ANSWER,
    (HttpPhase.ANSWER, HttpEvent.ANSWERED): HttpPhase.IDLE,
    (HttpPhase.ANSWER, HttpEvent.ANSWERED_EARLY): HttpPhase.HEAD,
    (HttpPhase.ANSWER, HttpEvent.TAKEN_OVER): HttpPhase.TAKEN,
}


def next_phase(phase: HttpPhase, event: HttpEvent) -> HttpPhase:
    """Return the phase after an event; ValueError for one that cannot happen."""
    try:
        return TRANSITIONS[phase, event]
    except KeyError:
        raise ValueError(f"{event.name} cannot happen in phase {phase.name}") from None
