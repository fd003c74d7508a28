"""Carries HTTP requests to nodes: sealed, over MQTT, by way of their supernode."""

import asyncio
import logging
import secrets
import time
from dataclasses import replace
from http import HTTPStatus

from broker import Broker, Identity, Message, Reason
from cloud.config import SignallingSettings
from cloud.errors import ProblemError
from cloud.metrics import Metrics
from cloud.signalling.open_requests import CallerLimits, Full, OpenRequest, OpenRequests
from cloud.signalling.patience import Patience
from protocol.envelope import (
    BODY_LIMIT_BYTES,
    Envelope,
    Kind,
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
RECONNECT_S = 2.0  # a node that says good-bye opens a new connection at once, or has stopped
SECRET_BYTES = 16


class Sep:
    """Sends requests and waits for their answers; one per replica."""

    def __init__(
        self,
        broker: Broker,
        sealing: SealingKey,
        settings: SignallingSettings,
        metrics: Metrics,
        patience: Patience,
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
        self._patience = patience
        self._leavers: dict[str, asyncio.TimerHandle] = {}  # by supernode id
        self._forget_hook = broker.hooks.on_disconnect(self._on_disconnect)
        self._client = broker.local_client(f"mss-{settings.replica}")
        self._client.subscribe(sep_response("+", "+", settings.replica), self._on_answer)

    def __len__(self) -> int:
        return len(self._requests)

    def close(self) -> None:
        """Leave the broker."""
        self._forget_hook()
        for timer in self._leavers.values():
            timer.cancel()
        self._client.close()

    async def send(self, node: NodeRecord, request: HttpRequest, caller: str = "") -> HttpResponse:
        """Return a node's answer to a request; cancelled, let the node know that nobody waits.

        Raises:
            ProblemError: too large, too many open, node offline or lost, no answer in time, or an
                answer that cannot be read.
        """
        secret = secrets.token_bytes(SECRET_BYTES)
        plain = encode_request(replace(request, answer_secret=secret))
        if len(plain) > BODY_LIMIT_BYTES:
            raise too_large()
        if not self._broker.is_connected(node.supernode_id):
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"cannot reach node {node.node_id}: its cluster is not connected",
                {"Retry-After": "5"},
            )
        answer: asyncio.Future[Envelope] = asyncio.get_running_loop().create_future()
        waiting = OpenRequest(
            new_message_id(),
            node.node_id,
            node.supernode_id,
            lambda envelope: _settle(answer, envelope),
            caller,
            lambda: _settle(answer, lost(node.node_id)),
        )
        _refuse_if(self._requests.add(waiting))
        try:
            self._publish(waiting, node, plain)
            async with self._patience.within(self._timeout_s, self._too_slow(node)):
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
            kind=Kind.REQUEST,
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
        if not self._broker.has_room(node.supernode_id, len(payload)):
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"cannot reach node {node.node_id}: its connection is behind",
                {"Retry-After": RETRY_AFTER_S},
            )
        self._deliver(waiting, payload)

    def _cancel(self, waiting: OpenRequest) -> None:
        envelope = Envelope(
            kind=Kind.CANCEL,
            message_id=waiting.message_id,
            to=waiting.node_id,
            sender=self._requests.address,
            expires=time.time() + self._timeout_s,
            body=b"",
        )
        self._deliver(waiting, encode_envelope(envelope))

    def _deliver(self, waiting: OpenRequest, payload: bytes) -> None:
        # not stored: after a restart nobody waits for the answer
        topic = sep_request(waiting.supernode_id, waiting.node_id)
        self._client.publish(topic, payload, qos=1, expiry_s=self._timeout_s, stored=False)

    def _on_disconnect(self, who: Identity, reason: Reason | None) -> None:
        if reason is Reason.SESSION_TAKEN_OVER:
            return  # what it did not acknowledge goes to its new connection
        if reason is Reason.NORMAL_DISCONNECTION:
            timer = self._leavers.pop(who.name, None)
            if timer is not None:
                timer.cancel()
            loop = asyncio.get_running_loop()
            self._leavers[who.name] = loop.call_later(RECONNECT_S, self._check_left, who.name)
        elif not self._broker.is_connected(who.name):
            self._requests.supernode_lost(who.name)

    def _check_left(self, supernode_id: str) -> None:
        del self._leavers[supernode_id]
        if not self._broker.is_connected(supernode_id):
            self._requests.supernode_lost(supernode_id)

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
    """Return the problem of an answer that is none."""
    return ProblemError(HTTPStatus.BAD_GATEWAY, f"cannot read the answer of node {node_id}")


def lost(node_id: str) -> ProblemError:
    """Return the problem of a request whose way to the node has ended."""
    return ProblemError(
        HTTPStatus.BAD_GATEWAY,
        f"cannot get an answer of node {node_id}: the connection to its cluster was lost",
        {"Retry-After": RETRY_AFTER_S},
    )


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
