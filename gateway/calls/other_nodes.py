"""Calls other nodes of the cluster and of the account: LAN first, then BEP for bulk, then SEP.

A request of which anything was sent, and that is not safe, is not sent by another way: the node may
have carried it out. Its caller gets OutcomeUnknown.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.calls.node_lists import KeptNodes
from gateway.calls.ways import FailedWays, NodeReach, Route, Way, find_routes
from gateway.errors import CallNotSent, OutcomeUnknown, UplinkError, UplinkLost
from gateway.http.calls import CallBody, NodeAnswer, NodeCall
from gateway.limits.token_bucket import Rate
from hardware.boot_clock import boot_time
from protocol.envelope import BODY_LIMIT_BYTES
from protocol.errors import WireError
from protocol.http_body import HttpRequest, HttpResponse
from protocol.records import NodeRecord, from_fields

KEPT_S = 10.0  # the list of an account's nodes
NEAR_KEPT_S = 5.0  # the list of the cluster's nodes, which one frame brings
ANEW, NEAR_ANEW = Rate(burst=5, interval_s=10.0), Rate(burst=20, interval_s=1.0)  # early requests

AccountNodes = Callable[[], Awaitable[list[dict[str, Any]]]]
Clock = Callable[[], float]
Matches = Callable[[NodeRecord], bool]


class CallClient(Protocol):
    """Sends requests to other nodes by one way."""

    def open(self, node_id: str, call: NodeCall) -> AbstractAsyncContextManager[NodeAnswer]:
        """Yield the answer; CallNotSent or UplinkLost when there is none."""


class Neighbours(Protocol):
    """The nodes of the linkLocal cluster."""

    def known_records(self) -> list[NodeRecord]:
        """Return the records at hand."""

    async def records(self) -> list[NodeRecord]:
        """Return the records, asked of the supernode."""

    def addresses_of(self, node_id: str) -> tuple[str, ...]:
        """Return where the cluster port of a member may be; () for other nodes."""


@dataclass(frozen=True, slots=True)
class FoundRoutes:
    """The ways to a node and the record that they come from."""

    record: NodeRecord | None
    routes: list[Route]


class OtherNodes:
    """The other nodes, and the ways to them.

    Args:
        node_id: of this node.
        cluster: the nodes of this network.
        clients: by the way that each goes.
        account_nodes: asks the cloud for those of the account; None without a cloud.
        clock: counts seconds.
    """

    def __init__(
        self,
        node_id: str,
        cluster: Neighbours,
        clients: Mapping[Way, CallClient],
        account_nodes: AccountNodes | None,
        clock: Clock = boot_time,
    ) -> None:
        self._node_id, self._cluster, self._clients = node_id, cluster, clients
        self._account_nodes, self._clock = account_nodes, clock
        self._of_account: list[NodeRecord] = []  # the last that the cloud has told
        self._near_list = KeptNodes(cluster.records, NEAR_KEPT_S, NEAR_ANEW, clock)
        self._far = KeptNodes(self._ask_account, KEPT_S, ANEW, clock)
        self._failed = FailedWays()
        self.sent = dict.fromkeys(Way, 0)  # requests that were answered, by their way

    async def records(self) -> list[NodeRecord]:
        """Return the nodes of the cluster, then those of the account; each once."""
        near = await self._near()
        known = {record.node_id for record in near}
        return near + [each for each in await self._far.get() if each.node_id not in known]

    async def find(self, matches: Matches) -> NodeRecord | None:
        """Return the nearest node of those that match; UplinkError when the cloud is needed.

        What the kept lists do not have is looked for in new ones.
        """
        began = self._clock()
        for look in (self._near, self._far.get):
            for newer_than in (None, began):
                for record in await look(newer_than):
                    if matches(record):
                        return record
        return None

    async def find_node(self, node_id: str) -> NodeRecord | None:
        """Return the record of a node."""
        for record in self._cluster.known_records():
            if record.node_id == node_id:
                return record
        return await self.find(lambda record: record.node_id == node_id)

    def routes(self, node_id: str, *, is_bulk: bool = False) -> list[Route]:
        """Return the ways to a node, the first to be tried first."""
        addresses = self._cluster.addresses_of(node_id) if Way.LAN in self._clients else ()
        return find_routes(
            NodeReach(
                is_self=node_id == self._node_id,
                addresses=addresses,
                has_cloud=Way.SEP in self._clients,
                failed=self._failed.failed(node_id, self._clock()),
                is_bulk=is_bulk,
            )
        )

    @asynccontextmanager
    async def open(self, record: NodeRecord, call: NodeCall) -> AsyncIterator[NodeAnswer]:
        """Yield a node's answer.

        Raises:
            OutcomeUnknown: the node may have carried out a request that is not safe.
            UplinkError: no way leads to it.
        """
        async with AsyncExitStack() as stack:
            yield await self._send(record.node_id, call, stack)

    async def send(self, record: NodeRecord, request: HttpRequest) -> HttpResponse:
        """Return a node's answer as a whole; the errors are those of open()."""
        body = CallBody(request.body)
        call = NodeCall(request.method, request.target, request.headers, body)
        async with self.open(record, call) as answer:
            return await answer.whole(BODY_LIMIT_BYTES)

    async def _send(self, node_id: str, call: NodeCall, stack: AsyncExitStack) -> NodeAnswer:
        faults: list[str] = []
        for route in self.routes(node_id, is_bulk=call.is_bulk):
            client = self._clients.get(route.way)
            if client is None:
                continue
            try:
                answer = await stack.enter_async_context(client.open(node_id, call))
            except UplinkLost as exc:
                self._failed.note_failure(node_id, route.way, self._clock())
                if not isinstance(exc, CallNotSent) and not call.is_safe:
                    raise OutcomeUnknown(
                        f"cannot say whether node {node_id:.12} has carried out the request: {exc}"
                    ) from exc
                faults.append(str(exc))
                if call.body.is_gone:
                    break
                continue
            self._failed.note_success(node_id, route.way)
            self.sent[route.way] += 1
            return answer
        why = "; ".join(faults) or "no way leads to it"
        raise UplinkLost(f"cannot reach node {node_id:.12}: {why}")

    async def _near(self, newer_than: float | None = None) -> list[NodeRecord]:
        """Return the nodes of this network, as far as they are known now."""
        await self._near_list.get(newer_than)
        return self._cluster.known_records()

    async def _ask_account(self) -> list[NodeRecord]:
        if self._account_nodes is None:
            return []
        try:
            self._of_account = _parse(await self._account_nodes())
        except UplinkError:
            if not self._of_account:
                raise
        return self._of_account


def _parse(found: list[dict[str, Any]]) -> list[NodeRecord]:
    records = []
    for fields in found:
        try:
            records.append(from_fields(fields))
        except (WireError, TypeError):  # of a newer node, which this one cannot call
            continue
    return records
