"""Gives this node a way to the cloud through the node that holds the SEP. Does I/O.

Each place in the cloud has a Unix socket in the private folder of this process. A connection to it
becomes a stream through the holder. Clients that connect in threads of their own, as MQTT does,
need no other part of the cluster for it.
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from gateway.cluster.links.admission import PeerAdmission
from gateway.cluster.links.link import dial
from gateway.cluster.ways.relay import read_head
from gateway.cluster.ways.request import WAY, WayRequest, decode_answer, encode_request
from gateway.errors import ClusterError
from protocol.errors import WireError
from protocol.node_tls import NodeTlsContext
from protocol.splice import SplicedPair, SpliceLimits, Splicer, cut, tune

logger = logging.getLogger(__name__)

STREAMS = 32  # at a time; the holder carries fewer
OPEN_S = 6.0  # for a stream, until the holder has reached the cloud
PIPES = 4  # of 1 MiB

FindHolder = Callable[[], tuple[str, tuple[str, ...]]]


class WayClient:
    """The Unix sockets that lead to the cloud.

    Args:
        context: the certificate of this node.
        admission: proves to the holder that this node belongs to its cluster.
        find_holder: returns the id of the node that holds the SEP, and its addresses.
        way_sockets: host:port at the cloud, by the path of the socket that leads there.
    """

    def __init__(
        self,
        context: NodeTlsContext,
        admission: PeerAdmission,
        find_holder: FindHolder,
        way_sockets: Mapping[Path, str],
    ) -> None:
        self._context, self._admission = context, admission
        self._find_holder, self._way_sockets = find_holder, dict(way_sockets)
        self._tasks: set[asyncio.Task[None]] = set()
        self._splicer: Splicer | None = None
        self._open_pairs: dict[SplicedPair, str] = {}  # and the holder of each
        self.refused = 0  # connections beyond the limit
        self.fault = ""  # the reason why the last stream was not opened

    async def run(self) -> None:
        """Serve the sockets until cancelled."""
        with contextlib.ExitStack() as stack:
            listeners = [(stack.enter_context(_listen(p)), t) for p, t in self._way_sockets.items()]
            try:
                async with asyncio.TaskGroup() as group:
                    for listener, target in listeners:
                        group.create_task(self._accept_all(listener, target))
            finally:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
                if self._splicer is not None:
                    self._splicer.close()

    def holder_changed(self) -> None:
        """Cut the streams through a node that does not hold the SEP any more."""
        holder_id, _ = self._find_holder()
        for pair, through_id in list(self._open_pairs.items()):
            if through_id != holder_id:
                pair.cut()

    async def _accept_all(self, listener: socket.socket, target: str) -> None:
        loop = asyncio.get_running_loop()
        while True:
            local, _ = await loop.sock_accept(listener)
            if len(self._tasks) >= STREAMS:
                local.close()
                self.refused += 1
                continue
            task = asyncio.create_task(self._carry(local, target), name="way to the cloud")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, local: socket.socket, target: str) -> None:
        """Join a local connection with a stream through the holder."""
        tune(local)
        try:
            async with asyncio.timeout(OPEN_S):
                holder_id, stream = await self._open(target)
        except (ClusterError, WireError, OSError, TimeoutError) as exc:
            self.fault = str(exc) or "no answer"
            logger.debug("no way to %s: %s", target, self.fault)
            cut(local)
            return
        except asyncio.CancelledError:
            local.close()
            raise
        self.fault = ""
        await self._join(local, stream, holder_id)

    async def _join(self, local: socket.socket, stream: socket.socket, holder_id: str) -> None:
        if self._splicer is None:
            self._splicer = Splicer(SpliceLimits(pipes=PIPES))
        ended = asyncio.Event()
        pair = self._splicer.join(local, stream, lambda _: ended.set())
        self._open_pairs[pair] = holder_id
        try:
            await ended.wait()
        finally:
            del self._open_pairs[pair]
            if not ended.is_set():
                pair.cut()

    async def _open(self, target: str) -> tuple[str, socket.socket]:
        holder_id, addresses = self._find_holder()
        if not holder_id:
            raise ClusterError("no other node holds the SEP")
        sock, _, _ = await dial(addresses, holder_id, self._context, WAY)
        try:
            await _ask(sock, WayRequest(target, self._admission.prove(holder_id)), holder_id)
        except BaseException:
            sock.close()
            raise
        return holder_id, sock


async def _ask(sock: socket.socket, request: WayRequest, holder_id: str) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, encode_request(request))
    if why := decode_answer(await read_head(sock)):
        raise ClusterError(f"node {holder_id:.12} gives no way: {why}")


def _listen(path: Path) -> socket.socket:
    """Return a listener on a Unix socket, in place of one that an earlier run has left."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(STREAMS)
    listener.setblocking(False)
    return listener
