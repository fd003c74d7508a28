"""Carries HTTP requests to nodes: sealed, over MQTT, by way of the holder of their SEP."""

import asyncio
import logging
import secrets
import time
from dataclasses import replace
from http import HTTPStatus

from broker import Identity, Message, Reason
from cloud.config import SignallingSettings
from cloud.errors import ProblemError
from cloud.metrics import Metrics
from cloud.signalling.bounded_wait import BoundedWait
from cloud.signalling.open_requests import CallerLimits, Full, OpenRequest, OpenRequests
from cloud.signalling.ports import SepBroker
from protocol.envelope import (
    BODY_LIMIT_BYTES,
    Envelope,
    EnvelopeKind,
    decode_envelope,
    encode_envelope,
    new_message_id,
    seal,
    unseal,
)
from protocol.errors import WireError
from protocol.http_body import HttpRequest, HttpResponse, decode_response, encode_request
from protocol.keys import SealingKey
from protocol.records import NodeRecord
from protocol.topics import sep_request, sep_response

logger = logging.getLogger(__name__)

RETRY_AFTER_S = "1"
RECONNECT_S = 2.0  # a node that sends DISCONNECT opens a new connection at once, or has stopped
SECRET_BYTES = 16


class SepLost(ProblemError):  # noqa: N818  # an event
    """The connection through which a request was sent is lost; the node may have it."""

    def __init__(self, node_id: str) -> None:
        super().__init__(
            HTTPStatus.BAD_GATEWAY,
            f"cannot get an answer of node {node_id}: the connection to its cluster was lost",
            {"Retry-After": RETRY_AFTER_S},
        )


class Sep:
    """Sends requests and waits for their answers; one per replica."""

    def __init__(
        self,
        broker: SepBroker,
        sealing: SealingKey,
        settings: SignallingSettings,
        metrics: Metrics,
        bounded_wait: BoundedWait,
    ) -> None:
        self._broker, self._sealing = broker, sealing
        self._metrics = metrics
        self._timeout_s = settings.timeout_s
        self._requests = OpenRequests(
            settings.replica,
            settings.open_limit,
            settings.open_limit_node,
            CallerLimits(settings.open_limit_caller, settings.open_limit_caller_node),
        )
        self._bounded_wait = bounded_wait
        self._disconnected: dict[str, asyncio.TimerHandle] = {}  # by the id of a SEP holder
        self._client = broker.open_client(f"mss-{settings.replica}")
        self._client.notify_of_disconnects(self._on_disconnect)
        self._client.subscribe(sep_response("+", "+", settings.replica), self._on_answer)

    def __len__(self) -> int:
        return len(self._requests)

    def close(self) -> None:
        """Disconnect from the broker."""
        for timer in self._disconnected.values():
            timer.cancel()
        self._client.close()

    def is_reachable(self, node: NodeRecord) -> bool:
        """Return whether the holder of a node's SEP is connected."""
        return self._broker.is_connected(node.holder_id)

    async def send(self, node: NodeRecord, request: HttpRequest, caller: str = "") -> HttpResponse:
        """Return a node's answer to a request; when cancelled, cancel the request at the node.

        Raises:
            SepLost: the connection was lost meanwhile.
            ProblemError: too large, too many open, node offline, no answer in time, or an answer
                that cannot be read.
        """
        secret = secrets.token_bytes(SECRET_BYTES)
        plain = encode_request(replace(request, answer_secret=secret))
        if len(plain) > BODY_LIMIT_BYTES:
            raise too_large()
        if not self.is_reachable(node):
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"cannot reach node {node.node_id}: its cluster is not connected",
                {"Retry-After": "5"},
            )
        answer: asyncio.Future[Envelope] = asyncio.get_running_loop().create_future()
        waiting = OpenRequest(
            new_message_id(),
            node.node_id,
            node.holder_id,
            lambda envelope: _settle(answer, envelope),
            caller,
            lambda: _settle(answer, SepLost(node.node_id)),
        )
        _refuse_if(self._requests.add(waiting))
        try:
            self._publish(waiting, node, plain)
            async with self._bounded_wait.within(self._timeout_s, self._too_slow(node)):
                envelope = await answer
        except asyncio.CancelledError:
            self._cancel(waiting)
            raise
        finally:
            self._requests.close(waiting)
        try:
            return decode_response(unseal(envelope, self._sealing, secret))
        except WireError as exc:
            logger.warning("cannot read answer of node %s: %s", node.node_id[:12], exc)
            raise unreadable(node.node_id) from exc

    def _publish(self, waiting: OpenRequest, node: NodeRecord, plain: bytes) -> None:
        envelope = Envelope(
            kind=EnvelopeKind.REQUEST,
            message_id=waiting.message_id,
            to=node.node_id,
            sender=self._requests.address,
            expires=time.time() + self._timeout_s,
            body=b"",
            reply_key=self._sealing.public,
        )
        try:
            payload = encode_envelope(seal(envelope, plain, node.sealing_key))
        except WireError as exc:
            logger.warning("cannot seal for node %s: %s", node.node_id[:12], exc)
            raise ProblemError(
                HTTPStatus.BAD_GATEWAY,
                f"cannot reach node {node.node_id}: its sealing key cannot be used",
            ) from exc
        if not self._broker.has_room(node.holder_id, len(payload)):
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"cannot reach node {node.node_id}: its connection is behind",
                {"Retry-After": RETRY_AFTER_S},
            )
        self._deliver(waiting, payload)

    def _cancel(self, waiting: OpenRequest) -> None:
        envelope = Envelope(
            kind=EnvelopeKind.CANCEL,
            message_id=waiting.message_id,
            to=waiting.node_id,
            sender=self._requests.address,
            expires=time.time() + self._timeout_s,
            body=b"",
        )
        self._deliver(waiting, encode_envelope(envelope))

    def _deliver(self, waiting: OpenRequest, payload: bytes) -> None:
        # not stored: after a restart no caller waits for the answer
        topic = sep_request(waiting.holder_id, waiting.node_id)
        self._client.publish_unstored(topic, payload, self._timeout_s)

    def _on_disconnect(self, peer: Identity, reason: Reason | None) -> None:
        name = peer.name
        if reason is Reason.SESSION_TAKEN_OVER:
            return  # unacknowledged requests go to its new connection
        if reason is Reason.NORMAL_DISCONNECTION:
            timer = self._disconnected.pop(name, None)
            if timer is not None:
                timer.cancel()
            loop = asyncio.get_running_loop()
            self._disconnected[name] = loop.call_later(RECONNECT_S, self._check_reconnected, name)
        elif not self._broker.is_connected(name):
            self._requests.holder_lost(name)

    def _check_reconnected(self, holder_id: str) -> None:
        del self._disconnected[holder_id]
        if not self._broker.is_connected(holder_id):
            self._requests.holder_lost(holder_id)

    def _too_slow(self, node: NodeRecord) -> ProblemError:
        return ProblemError(
            HTTPStatus.GATEWAY_TIMEOUT,
            f"cannot get an answer of node {node.node_id} within {self._timeout_s:g} s",
        )

    def _on_answer(self, message: Message) -> None:
        try:
            envelope = decode_envelope(message.payload)
        except WireError as exc:
            logger.debug("cannot read envelope from %s: %s", message.sender[:12], exc)
            self._metrics.sep_strays.inc()
            return
        if not self._requests.answer(message.topic, message.sender, envelope):
            self._metrics.sep_strays.inc()


def too_large() -> ProblemError:
    """Return the problem of a request that is bulk data."""
    return ProblemError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"cannot carry request: more than {BODY_LIMIT_BYTES} bytes with its headers; "
        "the SEP is for small messages, ask the node for a BEP (GET <microservice>/bep)",
    )


def unreadable(node_id: str) -> ProblemError:
    """Return the problem of an answer that cannot be read."""
    return ProblemError(HTTPStatus.BAD_GATEWAY, f"cannot read the answer of node {node_id}")


def _refuse_if(full: Full | None) -> None:
    if full is Full.NODE:
        raise ProblemError(
            HTTPStatus.TOO_MANY_REQUESTS,
            "cannot carry request: too many are open to this node",
            {"Retry-After": RETRY_AFTER_S},
        )
    if full is Full.CALLER:
        raise ProblemError(
            HTTPStatus.TOO_MANY_REQUESTS,
            "cannot carry request: too many of this caller are open",
            {"Retry-After": RETRY_AFTER_S},
        )
    if full is Full.REPLICA:
        raise ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "cannot carry request: too many are open",
            {"Retry-After": RETRY_AFTER_S},
        )


def _settle(answer: asyncio.Future[Envelope], outcome: Envelope | ProblemError) -> None:
    if answer.done():
        return
    if isinstance(outcome, ProblemError):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)
