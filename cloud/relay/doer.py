"""Carries out what the state of the BEPs decides, on sockets, and tells it what became of them."""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable, Iterable

from cloud.relay.actions import Action, Answer, Close, Cut, Join, Reject, SendFrame
from cloud.relay.arrivals import Peer
from cloud.relay.beps import Beps
from cloud.relay.farewells import Farewells
from cloud.relay.limits import RelayLimits
from cloud.relay.problems import encode_problem
from protocol.errors import WireError
from protocol.join import Joiner, JoinLimits, Joint
from protocol.preface import (
    FRAME_BYTES,
    EndReason,
    FrameType,
    Role,
    Status,
    decode_frame,
    encode_frame,
)

READ_BYTES = 256

logger = logging.getLogger(__name__)


class Doer:
    """Owns the sockets of everything that has been identified."""

    def __init__(self, beps: Beps[Peer], limits: RelayLimits, now: Callable[[], float]) -> None:
        self._beps, self._now = beps, now
        self._loop = asyncio.get_running_loop()
        self._joiner = Joiner(JoinLimits(pipes=limits.pipes, idle_s=limits.stream_idle_s))
        self._farewells = Farewells(limits.farewells)
        self._joints: dict[Peer, Joint] = {}  # by visitor
        self._actions: deque[Action[Peer]] = deque()

    def do(self, actions: Iterable[Action[Peer]]) -> None:
        """Carry out actions in order."""
        self._actions.extend(actions)
        while self._actions:
            self._do(self._actions.popleft())

    def moved(self, visitor: Peer) -> int:
        """Return how many bytes a joined visitor's stream has moved."""
        return self._joints[visitor].moved

    async def close(self) -> None:
        """Cut what is left."""
        self._joiner.close()
        await self._farewells.close()

    def _do(self, action: Action[Peer]) -> None:
        match action:
            case Answer(peer, status):
                self._answer(peer, status)
            case SendFrame(control, kind, value):
                if kind is FrameType.END:
                    logger.info("%s: BEP ended, %s", control.name, EndReason(value).name)
                self._send(control, encode_frame(kind, min(value, 0xFFFF)))
            case Join(visitor, data):
                self._join(visitor, data)
            case Reject(visitor, status_code, why):
                logger.debug("visitor refused: %d, %s", status_code, why)
                self._farewells.say(visitor.sock, encode_problem(status_code, why))
            case Close(peer):
                self._close(peer)
            case Cut(visitor):
                self._joints[visitor].cut()

    def _answer(self, peer: Peer, status: Status) -> None:
        if not self._send(peer, bytes([status])):
            return
        if status is not Status.ACCEPTED:
            logger.info("%s: connection refused, %s", peer.name or "unknown", status.name)
            peer.sock.close()
        elif peer.role is Role.CONTROL:
            logger.info("%s: serves a BEP", peer.name)
            self._loop.add_reader(peer.sock.fileno(), self._read_control, peer)
        else:
            self._loop.add_reader(peer.sock.fileno(), self._drop, peer)  # it must not speak first

    def _join(self, visitor: Peer, data: Peer) -> None:
        if not _is_open(data):
            data.sock.close()
            self._actions.extend(self._beps.retry(visitor, self._now()))
            return
        self._loop.remove_reader(data.sock.fileno())
        head, visitor.received = visitor.received, b""
        self._joints[visitor] = self._joiner.join(
            visitor.sock, data.sock, lambda joint: self._ended(visitor, joint), head
        )

    def _ended(self, visitor: Peer, joint: Joint) -> None:
        del self._joints[visitor]
        self._beps.stream_ended(visitor, joint.moved, self._now())

    def _read_control(self, control: Peer) -> None:
        try:
            data = control.sock.recv(READ_BYTES)
            control.received += data
            while len(control.received) >= FRAME_BYTES:
                frame = control.received[:FRAME_BYTES]
                control.received = control.received[FRAME_BYTES:]
                self._take_frame(control, frame)
        except BlockingIOError:
            return
        except (OSError, WireError) as exc:
            logger.debug("%s: %s", control.name, exc)
            data = b""
        if not data:
            logger.info("%s: control connection lost", control.name)
            self._drop(control)

    def _take_frame(self, control: Peer, frame: bytes) -> None:
        kind, _ = decode_frame(frame)
        if kind is not FrameType.PING:
            raise WireError(f"cannot take control frame: {kind.name} comes from relays only")
        self._beps.heard(control)

    def _drop(self, peer: Peer) -> None:
        self._beps.lost(peer, self._now())
        self._close(peer)

    def _close(self, peer: Peer) -> None:
        if peer.sock.fileno() >= 0:
            self._loop.remove_reader(peer.sock.fileno())
            peer.sock.close()

    def _send(self, peer: Peer, content: bytes) -> bool:
        """Send a few bytes; a peer that does not take them is as good as gone."""
        try:
            whole = peer.sock.send(content) == len(content)
        except OSError:
            whole = False
        if not whole:
            self._drop(peer)
        return whole


def _is_open(data: Peer) -> bool:
    """Return whether a ready connection, which must not have spoken, can still be used."""
    try:
        data.sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False
