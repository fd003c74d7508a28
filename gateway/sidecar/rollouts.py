"""Joins the parts of roll-outs: this node coordinates its own, and carries out those of others."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from gateway.access.guard import Guard
from gateway.http.problems import Problem
from gateway.http.routes import ApiRoute
from gateway.node.record import Node
from gateway.services import ServiceHost
from gateway.services.api.calls import McmAccess
from gateway.services.api.images import tarball_path
from gateway.services.api.rollouts import order_routes, rollout_routes
from gateway.services.rollouts.coordinator import Rollouts
from gateway.services.rollouts.peers import NodeOrders, SepPeers
from gateway.services.rollouts.receiver import RolloutReceiver
from gateway.services.rollouts.store import RolloutStore
from gateway.services.rollouts.used_codes import UsedCodes
from gateway.sidecar.elsewhere.node_images import NodeImages
from protocol.codes import make_code
from protocol.http_body import HttpRequest

if TYPE_CHECKING:
    from gateway.calls.other_nodes import OtherNodes

SOURCE_CODE_S = 3600  # a node fetches an image within that, or gets the order with a new code
NOT_FOUND = 404, b'{"detail": "it is no node of this account"}'


@dataclass(frozen=True, slots=True)
class CloudWays:
    """The ways through the cloud: to the list of the account's nodes, and to each of them."""

    account_nodes: Callable[[], Awaitable[list[dict[str, Any]]]]
    nodes: "OtherNodes"


class NodeRollouts:
    """The roll-outs of a node that has a cloud."""

    def __init__(
        self,
        node: Node,
        services: ServiceHost,
        ways: CloudWays,
        images: NodeImages,
        clock: Callable[[], float],
    ) -> None:
        """Take the parts; the clock is the cloud's time, which the nodes of an account share."""
        self._node, self._services, self._ways, self._clock = node, services, ways, clock
        deployments, limits = services.deployments, services.limits
        self._store = RolloutStore(services.folder)
        self._receiver = RolloutReceiver(
            node.node_id,
            deployments,
            images.add,
            UsedCodes(self._store, clock),
            limits.probation_s,
            time.time,
        )
        peers = SepPeers(node.account, self._call, clock)
        self._rollouts = Rollouts(
            node.node_id,
            self._store,
            NodeOrders(node.node_id, self._receiver, peers),
            self._source_code,
            time.time,
        )

    async def run(self) -> None:
        """Go on with the roll-outs of earlier runs, until cancelled."""
        await self._rollouts.run()

    async def stop(self) -> None:
        """End all work; it goes on at the next start."""
        await asyncio.gather(self._rollouts.stop(), self._receiver.stop())

    def routes(self, guard: Guard, access: McmAccess) -> list[ApiRoute]:
        """Return the routes of both sides."""
        services = self._services

        def check(code: str, operation: str) -> None:
            if not services.limits.takes_rollouts:
                why = 'this node takes no roll-outs ([services] rollouts = "no")'
                raise Problem(HTTPStatus.FORBIDDEN, f"cannot take order: {why}")
            access.code(code, operation)

        return [
            *order_routes(self._receiver, check),
            *rollout_routes(
                services.deployments,
                self._rollouts,
                self._account_nodes,
                services.limits,
                guard.client_id,
            ),
        ]

    async def _account_nodes(self) -> list[str]:
        """Return the nodes of the account, this one first: it is at hand if it fails."""
        rows = await self._ways.account_nodes()
        others = {str(row.get("id")) for row in rows} - {self._node.node_id}
        return [self._node.node_id, *sorted(others)]

    async def _call(
        self, method: str, node_id: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes]:
        nodes = self._ways.nodes
        record = await nodes.find_node(node_id)
        if record is None:
            return NOT_FOUND
        request = HttpRequest(method, path, tuple(headers.items()), body)
        answer = await nodes.send(record, request)
        return answer.status, answer.body

    def _source_code(self, image_id: str) -> str:
        """Return a code with which another node fetches an image of this one."""
        key, expires = self._node.account.key, int(self._clock()) + SOURCE_CODE_S
        return make_code(key, expires, self._node.node_id, tarball_path(image_id)) if key else ""
