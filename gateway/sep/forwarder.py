"""Passes SEP envelopes between the cloud and the members of this node's cluster.

cloud ── SEP ──► supernode ── data connection ──► member, and answers the same way back

An envelope is sealed for its node: the supernode reads the receiver's id and nothing else.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from gateway.sep.service import SepService
from protocol.envelope import decode_envelope
from protocol.errors import WireError
from protocol.topics import sep_response

logger = logging.getLogger(__name__)

SendAnswer = Callable[[str, bytes], None]  # to a topic of the cloud


@dataclass(frozen=True, slots=True)
class PeerPorts:
    """The functions of the cluster that the forwarder calls."""

    send: Callable[[str, str, bytes], bool]  # peer id, topic, envelope; False: it cannot go
    supernode_id: Callable[[], str]


class SepForwarder:
    """Serves envelopes to this node, and passes on those to members."""

    def __init__(self, node_id: str, service: SepService, peers: PeerPorts) -> None:
        self._node_id, self._service, self._peers = node_id, service, peers
        self._send_answer: SendAnswer | None = None  # while the link to the cloud is up
        self.passed, self.dropped = 0, 0

    def handle(self, payload: bytes, supernode_id: str, send: SendAnswer) -> None:
        """Take an envelope from the cloud."""
        self._send_answer = send
        try:
            receiver = decode_envelope(payload).to
        except WireError as exc:
            self._drop(str(exc))
            return
        if receiver == self._node_id:
            self._service.handle(payload, supernode_id, send)
        elif self._peers.send(receiver, "", payload):
            self.passed += 1
        else:
            self._drop(f"no data connection to member {receiver[:12]}, or it takes nothing")

    def take_from_peer(self, peer_id: str, topic: str, payload: bytes) -> None:
        """Take a request from the supernode, or the answer of a member."""
        supernode_id = self._peers.supernode_id()
        if not topic and peer_id == supernode_id:
            self._service.handle(
                payload, peer_id, lambda topic, answer: self._answer(peer_id, topic, answer)
            )
        elif topic.startswith(sep_response(self._node_id, peer_id, "")) and (
            supernode_id == self._node_id and self._send_answer is not None
        ):
            self._send_answer(topic, payload)
            self.passed += 1
        else:
            self._drop(f"node {peer_id[:12]} has no right to send it")

    async def stop(self) -> None:
        """Cancel the requests in progress."""
        self._send_answer = None
        await self._service.stop()

    def _answer(self, peer_id: str, topic: str, answer: bytes) -> None:
        if not self._peers.send(peer_id, topic, answer):
            self._drop(f"the supernode {peer_id[:12]} is gone, or takes nothing")

    def _drop(self, why: str) -> None:
        self.dropped += 1
        level = logging.WARNING if self.dropped == 1 else logging.DEBUG
        logger.log(level, "dropped an envelope: %s", why)
