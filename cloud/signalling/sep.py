"""Carries HTTP requests to nodes: sealed, over MQTT, by way of their supernode."""

import asyncio
import logging
import secrets
import time
from dataclasses import replace
from http import HTTPStatus

from broker import Broker, Message
from cloud.config import SignallingSettings
from cloud.errors import ProblemError
from cloud.metrics import Metrics
from cloud.signalling.open_requests import Full, OpenRequest, OpenRequests
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
            settings.replica, settings.open_limit, settings.open_limit_node
        )
        self._patience = patience
        self._client = broker.local_client(f"mss-{settings.replica}")
        self._client.subscribe(sep_response("+", "+", settings.replica), self._on_answer)

    def __len__(self) -> int:
        return len(self._requests)

    def close(self) -> None:
        """Leave the broker."""
        self._client.close()

    async def send(self, node: NodeRecord, request: HttpRequest) -> HttpResponse:
        """Return a node's answer to a request.

        Raises:
            ProblemError: too large, too many open, node offline, no answer in time, or an answer
                that cannot be read.
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
            new_message_id(), node.node_id, node.supernode_id, lambda e: _settle(answer, e)
        )
        _refuse_if(self._requests.add(waiting))
        try:
            self._publish(waiting, node, plain)
            async with self._patience.within(self._timeout_s, self._too_slow(node)):
                envelope = await answer
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
        self._client.publish(sep_request(node.supernode_id, node.node_id), payload, qos=1)

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


def _refuse_if(full: Full | None) -> None:
    if full is Full.NODE:
        raise ProblemError(
            HTTPStatus.TOO_MANY_REQUESTS,
            "cannot carry request: too many are open to this node",
            {"Retry-After": RETRY_AFTER_S},
        )
    if full is Full.REPLICA:
        raise ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "cannot carry request: too many are open",
            {"Retry-After": RETRY_AFTER_S},
        )


def _settle(answer: asyncio.Future[Envelope], envelope: Envelope) -> None:
    if not answer.done():
        answer.set_result(envelope)
