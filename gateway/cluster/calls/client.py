"""Sends requests to members of the cluster over this network. Does I/O.

A connection is made to a node id, whatever address leads to it: the handshake proves the id. It is
kept for further requests. Each node has places of its own, so that one that does not answer takes
none of others.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import h11

from gateway.cluster.calls.connection import NodeConnection
from gateway.cluster.calls.protocol import HTTP, PROOF_HEADER
from gateway.cluster.links.admission import PeerAdmission
from gateway.cluster.links.link import dial
from gateway.errors import CallNotSent, ClusterError
from gateway.http.calls import NodeAnswer, NodeCall
from hardware.boot_clock import boot_time
from protocol.node_tls import NodeTlsContext

CONNECTIONS = 16  # to one node
PLACE_S = 5.0  # for a connection that another request gives back
REUSE_S = 15.0  # the other end closes after 30 s


class LanCalls:
    """The way over the network of the cluster.

    Args:
        context: the certificate of this node.
        admission: proves to each node that this one belongs to its cluster.
        addresses: returns where a node's cluster port may be.
    """

    def __init__(
        self,
        context: NodeTlsContext,
        admission: PeerAdmission,
        addresses: Callable[[str], tuple[str, ...]],
    ) -> None:
        self._context, self._admission, self._addresses = context, admission, addresses
        self._places: dict[str, _Places] = {}  # of nodes with a connection, or with one being made

    async def close(self) -> None:
        """Close the idle connections."""
        for places in self._places.values():
            places.close()

    @asynccontextmanager
    async def open(self, node_id: str, call: NodeCall) -> AsyncIterator[NodeAnswer]:
        """Yield the answer of a node.

        Raises:
            CallNotSent: no connection can be made, or HTTP cannot carry the request.
            UplinkLost: the connection broke.
        """
        try:
            request = self._request(node_id, call)
        except h11.LocalProtocolError as exc:
            raise CallNotSent(f"cannot send the request: {exc}") from exc
        places = self._places.setdefault(node_id, _Places())
        places.users += 1
        try:
            async with places.take(lambda: self._connect(node_id)) as connection:
                head = await connection.ask(request, call.body)
                headers = tuple(
                    (name.decode("latin-1"), value.decode("latin-1"))
                    for name, value in head.headers
                )
                yield NodeAnswer(head.status_code, headers, connection.pieces())
        finally:
            places.users -= 1
            if places.idle and not places.expires:
                self._expire_later(node_id, places)
            self._forget(node_id, places)

    async def _connect(self, node_id: str) -> NodeConnection:
        try:
            sock, _, _ = await dial(self._addresses(node_id), node_id, self._context, HTTP)
        except ClusterError as exc:
            raise CallNotSent(f"no connection on this network: {exc}") from exc
        return NodeConnection(sock)

    def _request(self, node_id: str, call: NodeCall) -> h11.Request:
        headers = [("host", f"{node_id}.node.hecate"), *call.headers]
        if proof := self._admission.prove(node_id):
            headers.append((PROOF_HEADER, proof))
        if call.body.length is None:
            headers.append(("transfer-encoding", "chunked"))
        elif call.body.length or not call.is_safe:
            headers.append(("content-length", str(call.body.length)))
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        target = call.target.encode("latin-1", "replace")
        return h11.Request(method=call.method.upper(), target=target, headers=raw)

    def _expire_later(self, node_id: str, places: "_Places") -> None:
        places.expires = True
        asyncio.get_running_loop().call_later(REUSE_S, self._expire, node_id, places)

    def _expire(self, node_id: str, places: "_Places") -> None:
        places.expires = False
        places.expire(boot_time())
        if places.idle:
            self._expire_later(node_id, places)
        self._forget(node_id, places)

    def _forget(self, node_id: str, places: "_Places") -> None:
        if not places.users and not places.idle and self._places.get(node_id) is places:
            del self._places[node_id]


class _Places:
    """The connections to one node."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(CONNECTIONS)
        self.idle: deque[tuple[NodeConnection, float]] = deque()  # and the time of its last use
        self.expires = False  # a timer runs
        self.users = 0  # requests that have a connection, or wait for one
        self._is_closed = False

    @asynccontextmanager
    async def take(
        self, connect: Callable[[], Awaitable[NodeConnection]]
    ) -> AsyncIterator[NodeConnection]:
        """Yield a connection, an idle one if there is one."""
        try:
            async with asyncio.timeout(PLACE_S):
                await self._free.acquire()
        except TimeoutError as exc:
            why = f"{CONNECTIONS} requests to it are open already"
            raise CallNotSent(f"no connection on this network: {why}") from exc
        try:
            connection = self._take_idle() or await connect()
            try:
                yield connection
            finally:
                if await connection.end():
                    self._keep(connection)
        finally:
            self._free.release()

    def expire(self, now: float) -> None:
        """Close connections that nobody has used."""
        while self.idle and now - self.idle[0][1] >= REUSE_S:
            self.idle.popleft()[0].close()

    def close(self) -> None:
        """Close the idle connections, and those that come back."""
        self._is_closed = True
        while self.idle:
            self.idle.pop()[0].close()

    def _keep(self, connection: NodeConnection) -> None:
        if self._is_closed:
            connection.close()
        else:
            self.idle.append((connection, boot_time()))

    def _take_idle(self) -> NodeConnection | None:
        self.expire(boot_time())  # this machine may have slept
        while self.idle:
            connection, _ = self.idle.pop()
            if not connection.is_stale:
                return connection
            connection.close()
        return None
