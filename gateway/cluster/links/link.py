"""Exchanges frames with one peer over TLS, and dials peers. Does I/O."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence

from gateway.cluster.links.frames import (
    FRAME_LIMIT_BYTES,
    LENGTH,
    Beat,
    Frame,
    Hello,
    NotAdmitted,
    decode_frame,
    encode_frame,
)
from gateway.errors import ClusterError, PeerRefuses
from protocol.errors import WireError
from protocol.node_tls import NodeTlsCodec, NodeTlsContext
from protocol.splice import couple, cut, is_unanswered, tune
from settings.addresses import HostPort

CONTROL = "hecate-cluster/1"  # ALPN: heartbeats alone, so that no data delays them
DIAL_S = 4.0  # for one address, with the handshake
STAGGER_S = 0.1  # between attempts at the addresses of one node (RFC 8305 says 0.25)
HELLO_S = 4.0
Dialled = tuple[socket.socket, NodeTlsCodec, str]  # the plain side, the proof, the address

SLOW_BYTES = 64 * 1024  # of output that a peer has not taken; heartbeats are left out then


class ReachesItselfError(ClusterError):
    """An address leads to this node: lists of peers name all nodes of a cluster."""


class PeerLink:
    """One connection to a peer that has proved its node id."""

    def __init__(self, sock: socket.socket, codec: NodeTlsCodec, address: str, *, dialled: bool):
        """Take over the plain side of a connection; open() must follow."""
        self.peer_id, self.address, self.is_dialled = codec.peer_id, address, dialled
        self._sock = sock
        self._own_proof = self._peer_proof = ""
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def open(self, own: Hello) -> Hello:
        """Exchange the first frames; ClusterError when the peer refuses this node."""
        self._reader, self._writer = await asyncio.open_unix_connection(
            sock=self._sock, limit=FRAME_LIMIT_BYTES
        )
        self.greet(own)
        async with asyncio.timeout(HELLO_S):
            first = await self._read()
        if isinstance(first, NotAdmitted):
            raise PeerRefuses(first.reason)
        if not isinstance(first, Hello):
            raise WireError("cannot read frame of a peer: it did not say hello")
        self._peer_proof = first.proof
        return first

    @property
    def peer_proof(self) -> str:
        """The newest proof of the peer."""
        return self._peer_proof

    def greet(self, own: Hello) -> None:
        """Send the first frame, and later one with a proof that has been renewed."""
        self._own_proof = own.proof
        self.send(own)

    def greet_again(self, own: Hello) -> None:
        """Send a proof that differs from the one that the peer has."""
        if own.proof != self._own_proof:
            self.greet(own)

    def send(self, frame: Frame) -> None:
        """Queue a frame; leave out a heartbeat for a peer that does not read."""
        if isinstance(frame, Beat) and self.waiting_bytes > SLOW_BYTES:
            return
        if not self._writer.is_closing():
            self._writer.write(encode_frame(frame))

    @property
    def waiting_bytes(self) -> int:
        """The bytes that the peer has not taken."""
        return self._writer.transport.get_write_buffer_size()

    async def frames(self) -> AsyncIterator[Frame]:
        """Yield the frames of the peer, but not its renewed proofs, until it ends the link.

        Raises:
            WireError: a frame is malformed.
            PeerRefuses: the peer admits this node no longer.
        """
        while True:
            try:
                frame = await self._read()
            except (OSError, asyncio.IncompleteReadError):
                return
            if isinstance(frame, NotAdmitted):
                raise PeerRefuses(frame.reason)
            if isinstance(frame, Hello):
                self._peer_proof = frame.proof
                continue
            yield frame

    async def close(self) -> None:
        """Send what is queued, and end the link."""
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1.0):
                await self._writer.wait_closed()

    @property
    def is_unanswered(self) -> bool:
        """True when the machine of the peer, or the way to it, is gone."""
        return is_unanswered(self._sock)

    def cut(self) -> None:
        """End the link at once: nobody is there to take what is queued."""
        self._writer.transport.abort()
        cut(self._sock)

    async def _read(self) -> Frame:
        (size,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
        if size > FRAME_LIMIT_BYTES:
            raise WireError(f"cannot read frame of a peer: {size} bytes")
        return decode_frame(await self._reader.readexactly(size))


async def dial(
    addresses: Sequence[str], expected_id: str, context: NodeTlsContext, protocol: str
) -> Dialled:
    """Return a connection to a node by the first of its addresses that leads to it.

    Args:
        addresses: host:port of its cluster port; a link-local IPv6 address has its scope.
        expected_id: the node that has to answer; "" for any.
        context: the own certificate.
        protocol: the ALPN name.

    Raises:
        ClusterError: none of the addresses leads to the node.
        ReachesItselfError: the only address leads to this one.
    """
    attempts = [
        asyncio.create_task(_dial_one(address, expected_id, context, protocol, number * STAGGER_S))
        for number, address in enumerate(addresses)
    ]
    winner: asyncio.Task[Dialled] | None = None
    try:
        for attempt in asyncio.as_completed(attempts):
            with contextlib.suppress(ClusterError):
                await attempt
                break
        winner = next((a for a in attempts if a.done() and a.exception() is None), None)
        if winner is not None:
            return winner.result()
    finally:
        await _end(attempts, winner)
    faults = [attempt.exception() for attempt in attempts]
    if len(faults) == 1 and isinstance(faults[0], ReachesItselfError):
        raise faults[0]
    raise ClusterError("; ".join(map(str, faults)) or "it has no address")


async def _end(
    attempts: Sequence["asyncio.Task[Dialled]"], winner: "asyncio.Task[Dialled] | None"
) -> None:
    """Cancel the attempts that are left, and close connections that came second."""
    for attempt in attempts:
        attempt.cancel()
    results = await asyncio.gather(*attempts, return_exceptions=True)
    for attempt, result in zip(attempts, results, strict=True):
        if isinstance(result, tuple) and attempt is not winner:
            result[0].close()


async def _dial_one(
    address: str, expected_id: str, context: NodeTlsContext, protocol: str, wait_s: float
) -> Dialled:
    await asyncio.sleep(wait_s)
    codec = context.connect(protocol)
    try:
        async with asyncio.timeout(DIAL_S):
            carrier = await _connect(address)
            try:
                tune(carrier)
                sock = await couple(carrier, codec)
            except BaseException:
                carrier.close()
                raise
    except (OSError, TimeoutError, ValueError) as exc:
        raise ClusterError(f"cannot reach {address}: {exc or 'no answer'}") from exc
    if codec.peer_id == context.node_id:
        sock.close()
        raise ReachesItselfError(f"{address} is this node itself")
    if expected_id and codec.peer_id != expected_id:
        sock.close()
        raise ClusterError(f"{address} is {codec.peer_id[:12]}, not {expected_id[:12]}")
    return sock, codec, address


async def _connect(address: str) -> socket.socket:
    place = HostPort.parse(address)
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    family, kind, proto, _, target = found[0]
    sock = socket.socket(family, kind, proto)
    sock.setblocking(False)
    try:
        await loop.sock_connect(sock, target)
    except BaseException:
        sock.close()
        raise
    return sock
