"""Serves SEP requests: opens the envelope, calls the sidecar, seals the answer.

A restart forgets which requests were seen. That is safe: the sealing key belongs to one run
(identity.py), so no later run can open a recorded request.
"""

import asyncio
import json
import logging
import re
from collections.abc import Callable
from dataclasses import replace

from gateway.http.inprocess import TooLarge, call
from gateway.http.replay import VALID_LIMIT_S, ReplayGuard, ReplayVerdict
from gateway.node.identity import NodeIdentity
from protocol.envelope import (
    BODY_LIMIT_BYTES,
    Envelope,
    EnvelopeKind,
    decode_envelope,
    encode_envelope,
    seal,
    unseal,
)
from protocol.errors import WireError
from protocol.http_body import (
    HttpRequest,
    HttpResponse,
    decode_request,
    encode_response,
    end_to_end,
)
from protocol.topics import sep_response
from web.asgi import App

logger = logging.getLogger(__name__)

ORIGIN = "sep"
REQUESTS_AT_ONCE = 64  # mSS has at most 32 open to a node

_MSS = re.compile(r"mss:([A-Za-z0-9_-]{1,32})")


class SepService:
    """Answers envelopes by calls of the sidecar."""

    def __init__(self, identity: NodeIdentity, app: App, clock: Callable[[], float]) -> None:
        self._identity, self._app, self._clock = identity, app, clock
        self._guard = ReplayGuard()
        self._tasks: set[asyncio.Task[None]] = set()
        self._served: dict[tuple[bytes, str], asyncio.Task[None]] = {}  # by id and sender
        self.dropped = 0

    def handle(self, payload: bytes, holder_id: str, send: Callable[[str, bytes], None]) -> None:
        """Serve one envelope; send(topic, payload) sends the answer, if there is one."""
        try:
            envelope = decode_envelope(payload)
            if envelope.kind is EnvelopeKind.CANCEL:
                self._cancel(envelope)
                return
            replica = self._admit(envelope)
        except WireError as exc:
            self._drop(str(exc))
            return
        topic = sep_response(holder_id, self._identity.node_id, replica)

        async def serve() -> None:
            answer = await self._answer(envelope)
            if answer is not None:
                send(topic, answer)

        task = asyncio.create_task(serve(), name="SEP request")
        key = (envelope.message_id, envelope.sender)
        self._tasks.add(task)
        self._served[key] = task

        def forget(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            self._served.pop(key, None)

        task.add_done_callback(forget)

    async def stop(self) -> None:
        """Cancel the requests in progress; later ones are served again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _cancel(self, envelope: Envelope) -> None:
        """Cancel a request in progress: its sender does not wait any more."""
        task = self._served.get((envelope.message_id, envelope.sender))
        if task is not None and envelope.to == self._identity.node_id:
            logger.debug("a SEP request is cancelled by its sender")
            task.cancel()

    def _admit(self, envelope: Envelope) -> str:
        """Return the replica of mSS that sent a request; WireError when it may not be served."""
        sender = _MSS.fullmatch(envelope.sender)
        if envelope.kind is not EnvelopeKind.REQUEST or envelope.to != self._identity.node_id:
            raise WireError("cannot serve envelope: not a request to this node")
        if sender is None or not envelope.reply_key:
            raise WireError("cannot serve envelope: it names no receiver of the answer")
        if len(self._tasks) >= REQUESTS_AT_ONCE:
            raise WireError("cannot serve envelope: too many at once")
        verdict = self._guard.admit(envelope.message_id, envelope.expires, self._clock())
        if verdict is not ReplayVerdict.ADMITTED:
            raise WireError(f"cannot serve envelope: {verdict}")
        return sender[1]

    async def _answer(self, envelope: Envelope) -> bytes | None:
        try:
            request = decode_request(unseal(envelope, self._identity.sealing))
            response = await self._call(request, envelope.expires)
            answer = replace(
                envelope,
                kind=EnvelopeKind.RESPONSE,
                to=envelope.sender,
                sender=self._identity.node_id,
                body=b"",
                reply_key=b"",
            )
            return encode_envelope(
                seal(answer, _bounded(response), envelope.reply_key, request.answer_secret)
            )
        except WireError as exc:
            self._drop(str(exc))
        return None

    async def _call(self, request: HttpRequest, expires: float) -> HttpResponse:
        timeout_s = min(max(expires - self._clock(), 1.0), VALID_LIMIT_S)
        try:
            return await call(self._app, request, ORIGIN, BODY_LIMIT_BYTES, timeout_s)
        except TooLarge:
            return too_large()
        except TimeoutError:
            return problem(504, "Gateway Timeout", "cannot answer: it took too long")
        except Exception:  # a fault in one request may not end others
            logger.exception("cannot answer a SEP request")
            return problem(500, "Internal Server Error", "cannot answer: fault in the node")

    def _drop(self, why: str) -> None:
        self.dropped += 1
        logger.warning("%s", why) if self.dropped == 1 else logger.debug("%s", why)


def problem(status: int, title: str, detail: str) -> HttpResponse:
    """Return a problem document (RFC 9457)."""
    body = json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail})
    return HttpResponse(status, (("content-type", "application/problem+json"),), body.encode())


def too_large() -> HttpResponse:
    """Return the answer that replaces one larger than the SEP carries."""
    return problem(
        413,
        "Content Too Large",
        f"cannot carry answer: more than {BODY_LIMIT_BYTES} bytes with its headers; "
        "the SEP is for small messages, ask for a BEP (GET <microservice>/bep)",
    )


def _bounded(response: HttpResponse) -> bytes:
    carried = HttpResponse(response.status, end_to_end(response.headers), response.body)
    plain = encode_response(carried)
    return plain if len(plain) <= BODY_LIMIT_BYTES else encode_response(too_large())
