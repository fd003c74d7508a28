"""Carries streams of admitted members to the cloud, while this node holds the SEP. Does I/O.

It connects to the cloud of this node's configuration and to nothing else, and never through another
node, so that there are no loops. It reads none of the bytes: TLS runs between the member and the
cloud. Each stream is a connection of its own, so that none delays a heartbeat.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from gateway.cluster.links.admission import PeerAdmission
from gateway.cluster.ways.budget import WayBudget
from gateway.cluster.ways.request import (
    END,
    HEAD_LIMIT_BYTES,
    WayRequest,
    decode_request,
    encode_answer,
)
from protocol.errors import WireError
from protocol.node_tls import NodeTlsCodec
from protocol.splice import SplicedPair, SpliceLimits, Splicer
from settings.addresses import HostPort

logger = logging.getLogger(__name__)

HEAD_S = 4.0
DIAL_S = 4.0
COUNT_S = 2.0  # between two looks at the bytes of a stream
PIPES = 8  # of 1 MiB

Dial = Callable[[str, int], Awaitable[socket.socket]]


@dataclass(frozen=True, slots=True)
class RelayPorts:
    """The functions of other parts that a relay of ways calls."""

    holds: Callable[[], bool]  # true while this node holds the SEP
    dial: Dial  # a tuned socket; the configured HTTP proxy is on its way
    note_refused: Callable[[str, str, str], None]  # node id, address, reason


class WayRelay:
    """The streams of members through this node."""

    def __init__(
        self, targets: Collection[str], admission: PeerAdmission, ports: RelayPorts
    ) -> None:
        """Take the places of the cloud, as host:port."""
        self._targets, self._admission, self._ports = targets, admission, ports
        self._budget = WayBudget(time.monotonic())
        self._splicer: Splicer | None = None
        self.opened, self.refused = 0, 0

    def counts(self) -> dict[str, int]:
        """Return the streams that are open, were opened, were refused, and their bytes."""
        return {
            "open": self._budget.streams,
            "opened": self.opened,
            "refused": self.refused,
            "bytes": self._budget.carried_bytes,
        }

    def close(self) -> None:
        """Cut all streams."""
        if self._splicer is not None:
            self._splicer.close()
            self._splicer = None

    async def serve(self, sock: socket.socket, codec: NodeTlsCodec, address: str) -> None:
        """Serve a connection of a member until its stream ends."""
        member_id = codec.peer_id
        try:
            async with asyncio.timeout(HEAD_S):
                request = decode_request(await read_head(sock))
            why = self._refuse(member_id, address, request)
            if not why:
                await self._carry(sock, member_id, request)
                return
            self.refused += 1
            logger.debug("no way for node %.12s to %s: %s", member_id, request.target, why)
            await _answer(sock, encode_answer(403, why))
        except (OSError, TimeoutError, WireError) as exc:
            self.refused += 1
            logger.debug("no way for node %.12s: %s", member_id, exc or "it says nothing")
        finally:
            sock.close()

    def _refuse(self, member_id: str, address: str, request: WayRequest) -> str:
        if reason := self._admission.refuse(member_id, request.proof):
            self._ports.note_refused(member_id, address, reason)
            return reason
        if not self._ports.holds():
            return "this node does not hold the SEP"
        if request.target not in self._targets:
            return f"{request.target} is not the cloud of this node ([cloud] url)"
        return ""

    async def _carry(self, sock: socket.socket, member_id: str, request: WayRequest) -> None:
        if why := self._budget.open(member_id, time.monotonic()):
            self.refused += 1
            await _answer(sock, encode_answer(429, why))
            return
        try:
            place = HostPort.parse(request.target)
            try:
                async with asyncio.timeout(DIAL_S):
                    cloud = await self._ports.dial(place.host, place.port)
            except (OSError, TimeoutError) as exc:
                self.refused += 1
                why = f"cannot reach {request.target}: {exc or 'no answer'}"
                await _answer(sock, encode_answer(502, why))
                return
            self.opened += 1
            await self._join(sock, cloud, member_id)
        finally:
            self._budget.close(member_id)

    async def _join(self, sock: socket.socket, cloud: socket.socket, member_id: str) -> None:
        """Move bytes until the stream ends, or the member has had too many."""
        if self._splicer is None:
            self._splicer = Splicer(SpliceLimits(pipes=PIPES))
        ended = asyncio.Event()
        pair = self._splicer.join(cloud, sock, lambda _: ended.set(), encode_answer(200))
        counted = 0
        try:
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(COUNT_S):
                        await ended.wait()
                counted, is_within = self._count(pair, counted, member_id)
                if not is_within:
                    return
        finally:
            if not ended.is_set() and self._splicer is not None:
                pair.cut()

    def _count(self, pair: SplicedPair, counted: int, member_id: str) -> tuple[int, bool]:
        moved = pair.moved
        return moved, self._budget.move(member_id, moved - counted, time.monotonic())


async def read_head(sock: socket.socket) -> bytes:
    """Return the bytes up to an empty line; its sender waits then.

    Raises:
        WireError: it is too long, or more follows.
        OSError: the connection ended.
    """
    head, loop = bytearray(), asyncio.get_running_loop()
    while END not in head:
        if len(head) > HEAD_LIMIT_BYTES:
            raise WireError("cannot read head of a way: too long")
        data = await loop.sock_recv(sock, HEAD_LIMIT_BYTES)
        if not data:
            raise ConnectionResetError("it has closed the connection")
        head += data
    return bytes(head)


async def _answer(sock: socket.socket, head: bytes) -> None:
    async with asyncio.timeout(HEAD_S):
        await asyncio.get_running_loop().sock_sendall(sock, head)
