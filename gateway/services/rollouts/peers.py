"""Gives orders to other nodes of the account, over the SEP of each."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from gateway.errors import UplinkError
from gateway.node.account import Account
from gateway.services.rollouts.orders import (
    CODE_HEADER,
    CODE_S,
    OrderProgress,
    RolloutOrder,
    decode_progress,
    encode_order,
    operation_of,
    order_path,
)
from gateway.services.rollouts.receiver import RolloutReceiver
from protocol.codes import make_code
from web import JsonError, parse_json

ANSWER_LIMIT = 300  # characters of a reason
TRANSIENT = frozenset({408, 425, 429})

# method, node id, path, headers, body -> status and body
CallNode = Callable[
    [str, str, str, Mapping[str, str], bytes], Awaitable[tuple[int, bytes]]
]  # fmt: skip


class PeerLostError(Exception):
    """A node cannot be reached now."""


class PeerRefusedError(Exception):
    """A node refuses an order, or is not known."""


class OrderSink(Protocol):
    """Carries orders to nodes."""

    async def give(self, node_id: str, order: RolloutOrder) -> OrderProgress:
        """Return the progress of an order that a node gets, perhaps again."""

    async def ask(self, node_id: str, rollout_id: str) -> OrderProgress | None:
        """Return the progress of an order; None when the node does not know it."""


class SepPeers:
    """Other nodes, through the cloud."""

    def __init__(
        self, account: Account, call: CallNode, clock: Callable[[], float] = time.time
    ) -> None:
        self._account, self._call, self._clock = account, call, clock

    async def give(self, node_id: str, order: RolloutOrder) -> OrderProgress:
        """Return the progress of an order that a node gets, perhaps again.

        Raises:
            PeerLostError, PeerRefusedError: the node does not take it.
        """
        path = order_path(order.rollout_id)
        status, body = await self._send("PUT", node_id, path, encode_order(order))
        if status // 100 != 2:
            raise PeerRefusedError(_reason(status, body))
        return _progress(body)

    async def ask(self, node_id: str, rollout_id: str) -> OrderProgress | None:
        """Return the progress of an order; None when the node does not know it."""
        status, body = await self._send("GET", node_id, order_path(rollout_id), b"")
        if status == 404:
            return None
        if status // 100 != 2:
            raise PeerRefusedError(_reason(status, body))
        return _progress(body)

    async def _send(self, method: str, node_id: str, path: str, body: bytes) -> tuple[int, bytes]:
        key = self._account.key
        if not key:
            raise PeerLostError("this node is in no account")
        expires = int(self._clock()) + CODE_S
        code = make_code(key, expires, node_id, operation_of(method, path, body))
        headers = {CODE_HEADER: code, "content-type": "application/json"}
        try:
            status, answer = await self._call(method, node_id, path, headers, body)
        except UplinkError as exc:
            raise PeerLostError(str(exc)) from exc
        if status >= 500 or status in TRANSIENT:
            raise PeerLostError(_reason(status, answer))
        return status, answer


class NodeOrders:
    """This node without a network, all others through the cloud."""

    def __init__(self, node_id: str, receiver: RolloutReceiver, others: OrderSink) -> None:
        self._node_id, self._receiver, self._others = node_id, receiver, others

    async def give(self, node_id: str, order: RolloutOrder) -> OrderProgress:
        """Return the progress of an order that a node gets, perhaps again."""
        if node_id == self._node_id:
            return await self._receiver.take(order)
        return await self._others.give(node_id, order)

    async def ask(self, node_id: str, rollout_id: str) -> OrderProgress | None:
        """Return the progress of an order; None when the node does not know it."""
        if node_id == self._node_id:
            return self._receiver.show(rollout_id)
        return await self._others.ask(node_id, rollout_id)


def _progress(body: bytes) -> OrderProgress:
    try:
        return decode_progress(body)
    except ValueError as exc:
        raise PeerRefusedError(f"its answer cannot be read: {exc}") from exc


def _reason(status: int, body: bytes) -> str:
    try:
        fields = parse_json(body)
    except JsonError:
        fields = None
    detail = fields.get("detail") if isinstance(fields, dict) else None
    return str(detail)[:ANSWER_LIMIT] if detail else f"HTTP {status}"
