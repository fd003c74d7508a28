"""Carries out the actions of the BEPs' state on sockets, and reports the outcome to the state."""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable, Iterable

from cloud.relay.acceptor import AcceptedPeer
from cloud.relay.actions import Action, AnswerPreface, Close, Cut, Join, Reject, SendFrame
from cloud.relay.beps import RelayedBeps
from cloud.relay.limits import RelayLimits
from cloud.relay.rejections import RejectionWriter
from protocol.errors import WireError
from protocol.preface import (
    FRAME_BYTES,
    EndReason,
    FrameType,
    PrefaceRole,
    PrefaceStatus,
    decode_frame,
    encode_frame,
)
from protocol.splice import SplicedPair, SpliceLimits, Splicer

READ_BYTES = 256

logger = logging.getLogger(__name__)


class RelayExecutor:
    """Owns the sockets of all identified connections."""

    def __init__(
        self, beps: RelayedBeps[AcceptedPeer], limits: RelayLimits, now: Callable[[], float]
    ) -> None:
        self._beps, self._now = beps, now
        self._loop = asyncio.get_running_loop()
        self._splicer = Splicer(SpliceLimits(pipes=limits.pipes, idle_s=limits.stream_idle_s))
        self._rejections = RejectionWriter(limits.rejections)
        self._pairs: dict[AcceptedPeer, SplicedPair] = {}  # by visitor
        self._actions: deque[Action[AcceptedPeer]] = deque()

    def do(self, actions: Iterable[Action[AcceptedPeer]]) -> None:
        """Carry out actions in order."""
        self._actions.extend(actions)
        while self._actions:
            self._do(self._actions.popleft())

    def moved(self, visitor: AcceptedPeer) -> int:
        """Return how many bytes a joined visitor's stream has moved."""
        return self._pairs[visitor].moved

    async def close(self) -> None:
        """Cut all streams and close all connections."""
        self._splicer.close()
        await self._rejections.close()

    def _do(self, action: Action[AcceptedPeer]) -> None:
        match action:
            case AnswerPreface(peer, status):
                self._answer(peer, status)
            case SendFrame(control, kind, value):
                if kind is FrameType.END:
                    logger.info("%s: BEP ended, %s", control.name, EndReason(value).name)
                self._send(control, encode_frame(kind, min(value, 0xFFFF)))
            case Join(visitor, data):
                self._join(visitor, data)
            case Reject(visitor, status_code, why):
                logger.debug("visitor refused: %d, %s", status_code, why)
                self._rejections.reject(visitor.sock, status_code, why)
            case Close(peer):
                self._close(peer)
            case Cut(visitor):
                self._pairs[visitor].cut()

    def _answer(self, peer: AcceptedPeer, status: PrefaceStatus) -> None:
        if not self._send(peer, bytes([status])):
            return
        if status is not PrefaceStatus.ACCEPTED:
            logger.info("%s: connection refused, %s", peer.name or "unknown", status.name)
            peer.sock.close()
        elif peer.role is PrefaceRole.CONTROL:
            logger.info("%s: serves a BEP", peer.name)
            self._loop.add_reader(peer.sock.fileno(), self._read_control, peer)
        else:
            self._loop.add_reader(peer.sock.fileno(), self._drop, peer)  # it must not send first

    def _join(self, visitor: AcceptedPeer, data: AcceptedPeer) -> None:
        if not _is_open(data):
            data.sock.close()
            self._actions.extend(self._beps.retry(visitor, self._now()))
            return
        self._loop.remove_reader(data.sock.fileno())
        self._pairs[visitor] = self._splicer.join(
            visitor.sock, data.sock, lambda pair: self._on_stream_end(visitor, pair), visitor.take()
        )

    def _on_stream_end(self, visitor: AcceptedPeer, pair: SplicedPair) -> None:
        del self._pairs[visitor]
        self._beps.stream_ended(visitor, pair.moved, self._now())

    def _read_control(self, control: AcceptedPeer) -> None:
        try:
            data = control.sock.recv(READ_BYTES)
            control.append(data)
            while len(control.received) >= FRAME_BYTES:
                self._handle_frame(control, control.take(FRAME_BYTES))
        except BlockingIOError:
            return
        except (OSError, WireError) as exc:
            logger.debug("%s: %s", control.name, exc)
            data = b""
        if not data:
            logger.info("%s: control connection lost", control.name)
            self._drop(control)

    def _handle_frame(self, control: AcceptedPeer, frame: bytes) -> None:
        kind, _ = decode_frame(frame)
        if kind is not FrameType.PING:
            raise WireError(f"cannot accept control frame: {kind.name} comes from relays only")
        self._beps.pong(control)

    def _drop(self, peer: AcceptedPeer) -> None:
        self._beps.lost(peer, self._now())
        self._close(peer)

    def _close(self, peer: AcceptedPeer) -> None:
        if peer.sock.fileno() >= 0:
            self._loop.remove_reader(peer.sock.fileno())
            peer.sock.close()

    def _send(self, peer: AcceptedPeer, content: bytes) -> bool:
        """Send a few bytes; drop a peer whose send buffer is full."""
        try:
            whole = peer.sock.send(content) == len(content)
        except OSError:
            whole = False
        if not whole:
            self._drop(peer)
        return whole


def _is_open(data: AcceptedPeer) -> bool:
    """Return whether a ready connection is open and has sent nothing."""
    try:
        data.sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False
