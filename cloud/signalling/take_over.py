"""Carries requests over the moment at which the SEP of a cluster moves to another node.

A request whose connection was lost may have been carried out. One that is safe (RFC 9110, 9.2.1) is
sent again, once, when the node has registered by way of another holder. Any other is never sent
again: its caller learns that the outcome is unknown.
"""

import asyncio
from dataclasses import dataclass
from http import HTTPStatus

from cloud.errors import ProblemError
from cloud.signalling.bounded_wait import BoundedWait
from cloud.signalling.sep import Sep, SepLost
from cloud.storage.ports import NodeStore
from protocol.http_body import SAFE_METHODS, HttpRequest, HttpResponse
from protocol.records import NodeRecord

TAKE_OVER_S = 5.0  # from the loss to a registration by way of another holder
LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Sends requests, over a take-over if need be."""

    nodes: NodeStore
    sep: Sep
    bounded_wait: BoundedWait

    async def send(self, node: NodeRecord, request: HttpRequest, caller: str) -> HttpResponse:
        """Return a node's answer; the errors are those of Sep.send()."""
        try:
            return await self.sep.send(node, request, caller)
        except SepLost as exc:
            if request.method not in SAFE_METHODS:
                raise outcome_unknown(node.node_id) from exc
            async with self.bounded_wait.within(TAKE_OVER_S, exc):
                moved = await self._find_again(node.node_id)
        return await self.sep.send(moved, request, caller)

    async def _find_again(self, node_id: str) -> NodeRecord:
        """Return the record of a node once it can be reached."""
        while True:
            await asyncio.sleep(LOOK_S)
            record = await self.nodes.node(node_id)
            if record is not None and self.sep.is_reachable(record):
                return record


def outcome_unknown(node_id: str) -> ProblemError:
    """Return the problem of a request that is not safe and whose answer was lost."""
    return ProblemError(
        HTTPStatus.BAD_GATEWAY,
        f"cannot say whether node {node_id} has carried out the request: the connection to its "
        "cluster was lost before the answer; look at the node before you send it again",
    )
